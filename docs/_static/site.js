// Code and tables that are wider than the screen can be scrolled with the keyboard.
for (const part of document.querySelectorAll(".highlight pre, .table-wrapper")) {
  new ResizeObserver(() => {
    if (part.scrollWidth > part.clientWidth) part.setAttribute("tabindex", "0");
    else part.removeAttribute("tabindex");
  }).observe(part);
}
