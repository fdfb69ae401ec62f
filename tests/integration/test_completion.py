"""What a shell is offered when a person presses Tab."""

from __future__ import annotations

import pytest

from support.cli import Cli


def offered(cli: Cli, *words: str) -> list[str]:
    line = ["dataset-dl", "idc", *words]
    env = {
        "_DATASET_DL_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    outcome = cli(env=env)
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    return [line for line in outcome.out.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("download", "TCGA-LUA"), ["plain,tcga_luad"]),
        (("manifest", "nlst,rider_pil"), ["plain,nlst,rider_pilot"]),
        (("download", "./m"), ["file,./m"]),
        (("download", "nlst", "--where", "body"), ["plain,BodyPartExamined="]),
        (("download", "nlst", "--where", "modality=s"), ["plain,Modality=SEG", "plain,Modality=SM", "plain,Modality=SR"]),
        (("download", "nlst", "--where", "nothing=x"), []),
        (("download", "nlst", "--layout", "%collection_id/%Patie"),
         ["plain,%collection_id/%PatientID", "plain,%collection_id/%PatientAge", "plain,%collection_id/%PatientSex"]),
        (("indices", "fetch", "sm_"), ["plain,sm_index", "plain,sm_instance_index"]),
        (("columns", "coll"), ["plain,collections_index"]),
        (("cit",), ["plain,cite"]),
    ],
)  # fmt: skip
def test_offers(cli: Cli, words: tuple[str, ...], expected: list[str]) -> None:
    assert sorted(offered(cli, *words)) == sorted(expected)


def test_the_script_is_printed(cli: Cli) -> None:
    outcome = cli.process(env={"_DATASET_DL_COMPLETE": "zsh_source"})
    assert outcome.code == 0
    assert "#compdef dataset-dl" in outcome.out
