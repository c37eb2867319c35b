"""What an import found is counted in full and shown in part."""

from __future__ import annotations

from ingestion.bars.refusals import Findings


def test_a_kind_is_added_up_and_its_first_examples_are_kept() -> None:
    findings = Findings()
    for start in (0, 15):
        found = [f"S{n}.csv" for n in range(start, start + 15)]
        findings.add("from_names", "symbols taken from names", found)
    findings.add("volumeless", "bars without a volume", count=1_234)
    findings.add("nothing", "of these")
    assert [str(each) for each in findings] == [
        "30 symbols taken from names: S0.csv, S1.csv, S2.csv, S3.csv, S4.csv, …",
        "1,234 bars without a volume",
    ]
    assert findings.document() == {
        "from_names": {"count": 30, "examples": [f"S{n}.csv" for n in range(20)]},
        "volumeless": {"count": 1_234, "examples": []},
    }
