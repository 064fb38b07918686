"use strict";
(() => {
  const status = document.getElementById("copied");

  // Browsers have no navigator.clipboard on pages without https.
  const copySelected = (block) => {
    const selection = getSelection();
    selection.selectAllChildren(block);
    const done = document.execCommand("copy");
    selection.removeAllRanges();
    return done;
  };

  const copy = async (block) => {
    try {
      await navigator.clipboard.writeText(block.textContent);
      return true;
    } catch {
      return copySelected(block);
    }
  };

  for (const code of document.querySelectorAll(".code")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-describedby", code.querySelector("h3").id);
    button.addEventListener("click", async () => {
      const done = await copy(code.querySelector("code"));
      status.textContent = "";
      button.textContent = done ? "Copied" : "Select the text and copy it";
      status.textContent = done ? "Copied" : "This browser does not let a page copy text";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    code.querySelector("h3").after(button);
  }
})();
