"""Which shards a process does: from ``--shard``, torchrun, a Slurm array, or a Kubernetes indexed job."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reidhub.errors import UsageError
from reidhub.executors.share import Share

SLURM = {
    "SLURM_ARRAY_TASK_ID": "12",
    "SLURM_ARRAY_TASK_MIN": "10",
    "SLURM_ARRAY_TASK_MAX": "16",
    "SLURM_ARRAY_TASK_COUNT": "4",
    "SLURM_ARRAY_TASK_STEP": "2",
}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "5", "WORLD_SIZE": "16", "LOCAL_RANK": "1"}


def test_the_parts_have_every_shard_once():
    parts = [Share.parse(f"{index}/3") for index in range(3)]
    assert [sum(part.has(shard) for part in parts) for shard in range(10)] == [1] * 10
    assert [shard for shard in range(10) if parts[1].has(shard)] == [1, 4, 7]


@pytest.mark.parametrize("text", ["3/3", "0/0", "-1/3", "1", "1/", "a/b", "1/2/3", "1.0/2", "٣/8"])
def test_a_part_that_does_not_exist_is_refused_with_an_example(text):
    with pytest.raises(UsageError) as caught:
        Share.parse(text)
    assert "0/8" in caught.value.hint
    assert text in caught.value.message


def test_torchrun_gives_the_part_and_the_gpu():
    share = Share.find(TORCHRUN)
    assert (share.index, share.count, share.local_rank) == (5, 16, 1)
    assert str(share) == "part 6 of 16 (--shard 5/16), from torchrun"


def test_rank_without_torchrun_gives_no_part():
    assert Share.find({"RANK": "5", "WORLD_SIZE": "16", "LOCAL_RANK": "1"}) == Share(0, 1)


def test_each_process_of_a_real_torchrun_gets_its_part(tmp_path: Path):
    script = tmp_path / "part.py"
    script.write_text(
        "import json, os\nfrom pathlib import Path\nfrom reidhub.executors.share import Share\n"
        "share = Share.find()\n"
        "Path(os.environ['RANK']).write_text(json.dumps([share.index, share.count, share.local_rank]))\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    subprocess.run(torchrun, cwd=tmp_path, check=True, timeout=120, capture_output=True)
    assert [json.loads((tmp_path / rank).read_text()) for rank in "01"] == [[0, 2, 0], [1, 2, 1]]


def test_a_slurm_array_may_start_anywhere_and_have_a_step():
    share = Share.find(SLURM)
    assert (share.index, share.count) == (1, 4)
    assert str(share) == "part 2 of 4 (--shard 1/4), from the Slurm array"


def test_a_slurm_task_that_is_not_in_an_array_does_all_shards():
    assert Share.find({"SLURM_PROCID": "3", "SLURM_NTASKS": "8"}) == Share(0, 1)


@pytest.mark.parametrize(
    "changed",
    [
        {"SLURM_ARRAY_TASK_MAX": "40"},  # --array=10,12,14,40
        {"SLURM_ARRAY_TASK_ID": "13"},
        {"SLURM_ARRAY_TASK_STEP": "0"},
        {"SLURM_ARRAY_TASK_COUNT": ""},
    ],
)
def test_a_slurm_array_with_gaps_or_missing_numbers_is_refused(changed):
    with pytest.raises(UsageError, match="expected a") as caught:
        Share.find(SLURM | changed)
    assert "--shard I/N" in caught.value.hint


def test_torchrun_in_a_slurm_array_is_refused():
    with pytest.raises(UsageError, match="torchrun job and of a Slurm array"):
        Share.find(TORCHRUN | SLURM)


def test_a_pod_of_an_indexed_job_is_told_to_give_the_number_of_pods():
    with pytest.raises(UsageError) as caught:
        Share.find({"JOB_COMPLETION_INDEX": "3"})
    assert "--shard $(JOB_COMPLETION_INDEX)/N" in caught.value.hint
    assert caught.value.exit_code == 2


def test_torchrun_in_the_pods_of_an_indexed_job_gives_the_part():
    assert Share.find(TORCHRUN | {"JOB_COMPLETION_INDEX": "3"}).count == 16


def test_without_any_of_them_one_process_does_all_shards():
    share = Share.find({})
    assert all(share.has(shard) for shard in range(5))
    assert str(share) == "all shards"


def test_the_text_of_a_given_part_repeats_it():
    assert str(Share.parse("2/8")) == "part 3 of 8, from --shard 2/8"
