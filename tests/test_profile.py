"""Layer profiles: reading, sums against what was published, writing back, and every way in which a file can be wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_dsbench.__main__ import main
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.profile import Device, Profile, Row, load, named, write
from pytest_dsbench.profile.csvwrite import write as write_csv
from pytest_dsbench.profile.sums import explained, group_sum, hidden, layer_sum
from pytest_dsbench.profile.times import time, written

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "profiles" / "deepseek_d4.toml"
PUBLISHED = ROOT.parent / "shared" / "facts" / "d4_profile.csv"

#: Other groups, three devices, two units, a sum that follows, one that does not, one that rows without a time could hold.
UNSEEN = """group,module,kernel,h200_ms,b200_ms,gpu0_us
pre,norm,"k<1,2>(x)",0.10,0.05,90
pre,sum,,0.10,0.07,
main,gemm,g,1.50,0.70,1400
main,attn,a,2.50,1.70,2400.5
main,attn,b,,1.70,2400.5
main,sum,,4.20,4.00,6201
attn overlap,shared,s,1.00,0.20,100
,2 layers,,10,8,
,end to end,,12,9,
"""


def written_to(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture
def unseen(tmp_path: Path) -> Profile:
    return load(written_to(tmp_path / "unseen.csv", UNSEEN))


def figures(profile: Profile, rename: dict[str, str] | None = None) -> list[tuple[object, ...]]:
    """What has to survive a change of format, names of devices brought together."""
    names = rename or {}
    rows = [
        (row.module, row.kernel, row.hidden_by, tuple((names.get(d, d), round(s * 1e12)) for d, s in row.seconds.items()))
        for row in profile.rows
    ]
    stated = sorted((one.what, round(one.seconds * 1e12), one.count or 0) for one in profile.stated)
    return [*rows, *stated]


def test_times_keep_what_their_last_digit_leaves_open() -> None:
    for text, seconds, open_ in (
        ("13 us", 13e-6, 0.5e-6),
        ("225.767us", 225.767e-6, 0.5e-9),
        ("96ms", 0.096, 0.5e-3),
        ("1.50 s", 1.5, 5e-3),
    ):
        assert time(text) == (pytest.approx(seconds), pytest.approx(open_))
        number, unit = written(*time(text))
        assert time(f"{number} {unit}") == (pytest.approx(seconds), pytest.approx(open_))
    assert written(12.3456789e-6) == ("12.3456789", "us")


def test_group_sums_are_held_against_the_published_ones(unseen: Profile) -> None:
    def verdict(group: str, device: str) -> str:
        return group_sum(unseen, group, device).verdict

    assert verdict("pre", "h200") == "follows"
    # 0.05 ms and 0.07 ms, each to 5 us: 20 us apart are more than 10 us.
    assert verdict("pre", "b200") == "contradiction"
    assert verdict("pre", "gpu0") == "unpublished"
    # 4.00 ms of rows, one without a time, and 4.20 ms published.
    assert verdict("main", "h200") == "open"
    # 4.10 ms of rows, 4.00 ms published: rows that are all there make more.
    assert verdict("main", "b200") == "contradiction"
    assert group_sum(unseen, "main", "b200").off == pytest.approx(-0.1e-3)
    assert verdict("main", "gpu0") == "follows"


def test_a_sum_that_is_off_by_rounding_follows(tmp_path: Path) -> None:
    text = "group,module,h200_us\na,x,1\na,y,2\na,sum,4\nb,x,1\nb,sum,3\n"
    profile = load(written_to(tmp_path / "p.csv", text))
    # 0.5 for each of the three numbers: 1 apart is rounding. In b there are two, and 2 apart is not.
    assert group_sum(profile, "a", "h200").verdict == "rounding"
    assert group_sum(profile, "b", "h200").verdict == "contradiction"


def test_hidden_rows_are_added_nowhere(unseen: Profile) -> None:
    assert layer_sum(unseen, "h200").seconds == pytest.approx(4.1e-3)
    assert [row.kernel for row in layer_sum(unseen, "h200").untimed] == ["b"]
    (one,) = hidden(unseen, "h200")
    assert (one.module, one.rows.seconds, one.behind.seconds) == ("attn", pytest.approx(1e-3), pytest.approx(2.5e-3))
    assert one.fits
    longer = unseen.replace(rows=tuple(row.replace(seconds={"h200": 3e-3}) if row.hidden_by else row for row in unseen.rows))
    assert hidden(longer, "h200")[0].fits is False
    unknown = unseen.replace(rows=tuple(row.replace(seconds={}) if row.module == "attn" else row for row in unseen.rows))
    assert hidden(unknown, "h200")[0].fits is None


def test_what_the_rows_explain_of_all_layers(unseen: Profile) -> None:
    found = explained(unseen, "h200")
    assert found is not None
    assert (found.count, found.seconds, found.left) == (2, pytest.approx(8.2e-3), pytest.approx(1.8e-3))
    assert found.share == pytest.approx(0.82)
    over = explained(unseen, "b200")
    assert over is not None and over.left == pytest.approx(8e-3 - 2 * 4.15e-3)
    assert explained(unseen, "gpu0") is None


def test_toml_and_csv_carry_the_same_figures(unseen: Profile, tmp_path: Path) -> None:
    for profile in (unseen, load(SHIPPED)):
        back = load(written_to(tmp_path / "back.toml", write(profile)))
        assert back.replace(path="", rows=(), stated=()) == profile.replace(path="", rows=(), stated=(), profile=back.profile)
        assert [row.replace(line=0) for row in back.rows] == [row.replace(line=0) for row in profile.rows]
        sheet = load(written_to(tmp_path / "sheet.csv", write_csv(back)))
        assert figures(sheet) == figures(profile)
        again = load(written_to(tmp_path / "again.toml", write(sheet)))
        assert figures(again) == figures(profile)
        assert write_csv(again) == write_csv(sheet)


def test_a_csv_carries_operators_and_formulas(tmp_path: Path) -> None:
    sheet = load(written_to(tmp_path / "d4.csv", write_csv(load(SHIPPED))))
    assert set(sheet.variables) == {"tokens", "queries", "context", "rows", "local_experts"}
    by_kernel = {row.kernel: row for row in sheet.rows}
    assert by_kernel["nvjet_tst_256x128_64x5_2x1"].dims == {"m": "=tokens", "n": 512, "k": 128}
    assert by_kernel["nvjet_tst_256x128_64x5_2x1"].times == 128
    assert by_kernel["mhaSm100fKernel_Qkv"].dims["kv_lens"] == "=[context]*(tokens//queries)"


def test_every_field_survives_the_writer(tmp_path: Path) -> None:
    row = Row(
        group='a "quoted" \\ group',
        module="m\n\x7f",
        kernel="$k$",
        seconds={"x.y": 1.25e-6},
        calls=3,
        operator="paged_mla_decode",
        dims={"heads": 4, "kv_lens": [7, 9]},
        times=2,
        note="层",
    )
    devices = (
        Device(name="x.y", hw="h200", title="t", note="n", constants={"tokens": 4}),
        Device(name="z", constants={"b": "w"}),
    )
    profile = Profile(profile="p", devices=devices, rows=(row,), constants={"a-b": 1}, variables={"v": "w"}, layers=3, alike=2)
    back = load(written_to(tmp_path / "p.toml", write(profile)))
    assert back.devices == devices
    assert back.rows[0].replace(line=0, rounding={}) == row
    assert (back.constants, back.variables, back.layers, back.alike) == ({"a-b": 1}, {"v": "w"}, 3, 2)


def test_totals_in_english_and_chinese_with_bom_and_windows_line_ends(tmp_path: Path) -> None:
    english = (
        "group,module,kernel,h800_us\n,end to end,,96ms\n,61 layers,,87.32ms\na,x,k,4\na,sum,,4\nb,y,,9\ny/x overlap,,z,1\n\n"
    )
    chinese = (
        english.replace("end to end", "端到端")
        .replace("61 layers", "61层执行耗时")
        .replace("a,sum", "a,合计")
        .replace("y/x overlap", "y/x 重叠")
    )
    profiles = [
        load(written_to(tmp_path / "a.csv", english)),
        load(written_to(tmp_path / "b.csv", b"\xef\xbb\xbf" + chinese.replace("\n", "\r\n").encode())),
    ]
    for profile in profiles:
        assert profile.layers == 61
        assert [(one.what, one.count) for one in profile.stated] == [("step", None), ("layers", 61), ("group", None)]
        assert [one.seconds for one in profile.stated] == pytest.approx([0.096, 0.08732, 4e-6])
        assert [row.hidden_by for row in profile.rows] == [None, None, "y"]
        assert profile.rows[1].line == 6


def test_columns_find_their_sheets(tmp_path: Path) -> None:
    profile = load(written_to(tmp_path / "p.csv", "group,h100_sxm_us,h200_b1_ns,gpu_s\na,1,2,3\n"))
    assert [(one.name, one.hw) for one in profile.devices] == [("h100_sxm", "h100_sxm"), ("h200_b1", "h200"), ("gpu", None)]
    assert profile.rows[0].seconds == pytest.approx({"h100_sxm": 1e-6, "h200_b1": 2e-9, "gpu": 3.0})


CSV_HEAD = "group,module,kernel,h800_us\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ":1: the file is empty"),
        ("\n \n", ":1: the file is empty"),
        (CSV_HEAD, ":1: no row has a time"),
        (CSV_HEAD + "a,b,c,\n", ":1: no row has a time"),
        (CSV_HEAD + "a,b,c,-3\n", ":2: the time '-3 us' is not above zero"),
        (CSV_HEAD + "a,b,c,0\n", ":2: the time '0 us' is not above zero"),
        (CSV_HEAD + "a,b,c,nan\n", ":2: 'nan us' is not a quantity"),
        (CSV_HEAD + "a,b,c,inf\n", ":2: 'inf us' is not a quantity"),
        (CSV_HEAD + "a,b,c,1e999\n", ":2: the time '1e999 us' is not above zero"),
        (CSV_HEAD + "a,b,c,fast\n", ":2: 'fast' is not a quantity"),
        (CSV_HEAD + "a,b,c,4 furlongs\n", ":2: '4 furlongs' has the unit 'furlongs'"),
        (CSV_HEAD + "a,b,c,1,234\n", ":2: 5 cells under 4 columns"),
        (CSV_HEAD + "\n\na,b,c,1\n,half a layer,,3\n", ":5: a row without a group is a total, and this one names 'half a layer'"),
        (CSV_HEAD + "a,b,c,1\nx overlap,,k,1\n", ":3: unknown module to hide behind 'x'; known: b"),
        (CSV_HEAD + "a,b,c,1\nq,sum,,3\n", ":3: unknown group 'q'; known: a"),
        (CSV_HEAD + "a,b,c,1\na,sum,,3\na,sum,,4\n", ":4: the group a of h800 has two published times"),
        (CSV_HEAD + 'a,"b,c,1\n', "not CSV"),
        ("group,modul,h800_us\na,b,1\n", ":1: unknown column 'modul'; did you mean 'module'?"),
        ("group,module,h800\na,b,1\n", ":1: unknown column 'h800'"),
        ("group,module\na,b\n", ":1: no column DEVICE_us"),
        ("module,h800_us\na,1\n", ":1: no column group"),
        ("group,h800_us,h800_ms\na,1,1\n", ":1: device 'h800' has two columns"),
        ("group,h800_us,h800_us\na,1,1\n", ":1: the column 'h800_us' is there twice"),
        ("group;module;h800_us\na;b;1\n", ":1: the cells are parted by semicolons"),
        ("group,h800_us,calls\na,1,many\n", ":2: calls is 'many'"),
        ("group,h800_us,calls\na,1,0\n", ":2: calls is 0"),
        ("group,h800_us,times\na,1,x\n", ":2: times is 'x'"),
        ("group,h800_us,dims\na,1,m=3\n", ":2: dims without an operator"),
        ("group,h800_us,operator\na,1,matmull\n", ":2: unknown operator 'matmull'; did you mean 'matmul'?"),
        ("group,h800_us,operator,dims\na,1,matmul,m=3 n=4 kk=5\n", ":2: unknown dimension of matmul 'kk'"),
        ("group,h800_us,operator,dims\na,1,matmul,m=3 n=4\n", ":2: matmul: dimension 'k' is missing"),
        ("group,h800_us,operator,dims\na,1,matmul,m\n", ":2: 'm' is not a dimension; expected dim=value"),
        ("group,h800_us,operator,dims\na,1,matmul,m==(3 n=4 k=5\n", ":2: formula '=(3' cannot be read"),
        (b"group,h800_us\na\xff,1\n", ":2: not UTF-8 text"),
        (b"group,h800_us\na\x00,1\n", ":2: not UTF-8 text"),
    ],
)
def test_a_wrong_csv_is_one_sentence_at_its_line(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    path = written_to(tmp_path / "p.csv", text)
    with pytest.raises(Mistake) as found:
        load(path)
    assert str(found.value).startswith(f"{path}:")
    assert sentence in str(found.value)
    assert "\n" not in str(found.value)


TOML_HEAD = 'profile = "p"\nconstants = { hidden = 8 }\n[[device]]\nname = "h800"\nhw = "h800"\n[[row]]\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ":1: the file is empty"),
        ("x = [", ":1: not TOML"),
        ('profile = "p"\n', ":1: no [[device]]"),
        ('profile = "p"\n[[device]]\nname = "a"\n', ":1: no [[row]]"),
        (TOML_HEAD + 'group = "a"\ntime = { h800 = 13 }\n', ":6: the time 13 has no unit"),
        (TOML_HEAD + 'group = "a"\ntime = { h800 = "13" }\n', ":6: '13' is not a quantity"),
        (TOML_HEAD + 'group = "a"\ntime = { h800 = "-1 us" }\n', ":6: the time '-1 us' is not above zero"),
        (TOML_HEAD + 'group = "a"\ntime = { h8000 = "1 us" }\n', ":6: unknown device 'h8000'; did you mean 'h800'?"),
        (TOML_HEAD + 'group = "a"\ntimes = { h800 = "1 us" }\n', ":6: key 'times'"),
        (TOML_HEAD + 'group = "a"\ntme = { h800 = "1 us" }\n', ":6: unknown key of [[row]] 'tme'; did you mean 'time'?"),
        (TOML_HEAD + 'group = ""\ntime = { h800 = "1 us" }\n', ":6: the row names no group"),
        (TOML_HEAD + 'group = "a"\ntime = { }\n', ":1: no row has a time"),
        (
            TOML_HEAD
            + 'group = "a"\ntime = { h800 = "1 us" }\noperator = "rms_norm"\ndims = { tokens = "= tokns", hidden = 8 }\n',
            ":6: unknown name in the formula '= tokns' 'tokns'; known: hidden",
        ),
        (TOML_HEAD.replace('hw = "h800"', 'hw = "h8000"') + 'group = "a"\n', ":1: unknown GPU 'h8000'"),
        (
            TOML_HEAD.replace("[[row]]", '[[device]]\nname = "h800"\n[[row]]') + 'group = "a"\n',
            ":1: device 'h800' is declared twice",
        ),
        (
            TOML_HEAD + 'group = "a"\ntime = { h800 = "1 us" }\n[[stated]]\nwhat = "layer"\ndevice = "x"\ntime = "1 us"\n',
            ":9: unknown device 'x'",
        ),
        (
            TOML_HEAD + 'group = "a"\ntime = { h800 = "1 us" }\n[[stated]]\nwhat = "layers"\ndevice = "h800"\ntime = "1 us"\n',
            ":9: a time of 'layers'",
        ),
        (
            TOML_HEAD + 'group = "a"\ntime = { h800 = "1 us" }\n[[stated]]\nwhat = "year"\ndevice = "h800"\ntime = "1 us"\n',
            ":9: key 'what'",
        ),
        ("layers = 0\n" + TOML_HEAD + 'group = "a"\ntime = { h800 = "1 us" }\n', ":1: 0 layers"),
        (
            "layer = 3\n" + TOML_HEAD + 'group = "a"\ntime = { h800 = "1 us" }\n',
            ":1: unknown key of a layer profile 'layer'; did you mean 'layers'?",
        ),
        (b'profile = "p"\n# \xe9\n', ":2: not UTF-8 text"),
    ],
)
def test_a_wrong_toml_is_one_sentence_at_its_line(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    path = written_to(tmp_path / "p.toml", text)
    with pytest.raises(Mistake) as found:
        load(path)
    assert f"{path}{sentence}" in str(found.value)
    assert "\n" not in str(found.value)


def test_profiles_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    folders = (tmp_path, ROOT / "profiles")
    assert named("deepseek_d4", folders) == load(SHIPPED)
    for word, sentence in (
        ("deepseek_d5", "unknown layer profile 'deepseek_d5'; did you mean 'deepseek_d4'[?] known: deepseek_d4, or the path of"),
        (str(tmp_path / "none.csv"), "none.csv: cannot be read: No such file"),
        (str(ROOT / "README.md"), "is not a layer profile; expected a file that ends in .csv or .toml"),
    ):
        with pytest.raises(Mistake, match=sentence):
            named(word, folders)


def test_the_rows_of_a_step_are_held_against_the_step(unseen: Profile, tmp_path: Path) -> None:
    step = unseen.replace(covers="step", stated=tuple(one for one in unseen.stated if one.what == "step"))
    assert layer_sum(step, "b200").stated == step.stated_of("step", "b200")
    assert layer_sum(step, "b200").verdict == "contradiction"
    assert explained(unseen.replace(covers="step"), "h200") is None
    assert load(written_to(tmp_path / "step.toml", write(step))).covers == "step"


def test_the_shipped_profile_by_hand() -> None:
    profile = load(SHIPPED)
    for group, microseconds in (("attention", 388), ("gate", 19), ("moe", 709)):
        assert group_sum(profile, group, "h800").seconds == pytest.approx(microseconds * 1e-6)
    assert group_sum(profile, "attention", "h800").verdict == group_sum(profile, "gate", "h800").verdict == "follows"
    assert group_sum(profile, "moe", "h800").verdict == "unpublished"
    found = explained(profile, "h800")
    assert found is not None
    assert found.seconds == pytest.approx(61 * 1116e-6)
    assert found.share == pytest.approx(0.78, abs=5e-3)
    (overlap,) = hidden(profile, "h800")
    assert (overlap.rows.seconds, overlap.behind.seconds, overlap.fits) == (pytest.approx(34e-6), pytest.approx(394e-6), True)


def test_the_shipped_profile_has_the_published_figures() -> None:
    if not PUBLISHED.exists():
        pytest.skip("the published profile (shared/facts beside the checkout) is not here")
    published = load(PUBLISHED)
    assert figures(load(SHIPPED)) == figures(published, {"b200_d1_mtp": "b200"})
    assert [(one.name, one.hw) for one in published.devices] == [("h800", "h800"), ("b200_d1_mtp", "b200")]
    assert [published.of(group) for group in published.groups()][1][1].module == ""


def test_reading_needs_neither_torch_nor_pytest() -> None:
    script = (
        "import sys; from pytest_dsbench.__main__ import main; code = main(['profile', 'deepseek_d4'])\n"
        "print(code, sorted({'pytest', 'torch', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_the_command_says_what_it_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written_to(tmp_path / "unseen.csv", UNSEEN)
    assert main(["profile", str(path)]) == 0
    said = capsys.readouterr().out
    for line in (
        "gpu0: no data sheet, so that nothing is held against it; --hw gpu0=NAME names one",
        "  sum on h200: 100 us, 2.4 % of the layer; published 100 us: follows from the rows",
        "  sum on b200: 50 us; published 70 us: does not follow, the rows make 20 us (28.6 %) less",
        "published 4,200 us: 200 us (4.8 %) more than the rows that have a time; those without could hold it",
        "  sum on b200: 4,100 us; published 4,000 us: does not follow, the rows make 100 us (2.5 %) more",
        "layer on h200: more than 4,100 us (3 of 4 rows have a time); without a time: attn b",
        "  1 row is hidden behind attn: 1,000 us, not added; they fit into its 2,500 us",
        "  2 x 4,100 us = 8.20 ms of the published 10.00 ms of 2 layers: at least 82.0 % explained",
        "  the rows make 300 us more than was published: rows overlap, or layers differ",
        "  published step: 12.00 ms; the layers are 83.3 % of it, 2.00 ms (16.7 %) lie outside of them",
        "b200 / h200 over the 3 rows that both have: 2,450 us / 4,100 us = 0.60x",
    ):
        assert line in said


def test_the_command_converts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written_to(tmp_path / "unseen.csv", UNSEEN)
    other, back = tmp_path / "other.toml", tmp_path / "back.csv"
    assert main(["profile", str(path), "--toml", str(other)]) == 0
    assert main(["profile", str(other), "--csv", str(back)]) == 0
    assert figures(load(back)) == figures(load(path)) == figures(load(other))
    assert main(["profile", str(path), "--csv", str(tmp_path / "no" / "x.csv")]) == 2
    assert "--csv: cannot write" in capsys.readouterr().err


def test_the_example_of_the_documentation_is_a_profile(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
    example = text.split("```toml\n")[1].split("```")[0].replace('"combine"', '"o_proj"').replace("# tokens", "tokens")
    hider = '[[row]]\ngroup = "attention"\nmodule = "o_proj"\n'
    profile = load(written_to(tmp_path / "p.toml", example + hider))
    assert profile.devices[0].constants == {"tokens": 64}
    assert (profile.rows[0].seconds, profile.rows[0].hidden_by) == ({"h800": pytest.approx(50e-6)}, "o_proj")


def test_a_group_that_is_hidden_in_part_adds_up_what_nothing_hides() -> None:
    rows = (
        Row(group="moe", module="combine", seconds={"a": 10e-6}),
        Row(group="moe", module="shared", seconds={"a": 4e-6}, hidden_by="combine"),
    )
    profile = Profile(profile="p", devices=(Device(name="a"),), rows=rows)
    assert group_sum(profile, "moe", "a").seconds == layer_sum(profile, "a").seconds == 10e-6
    (found,) = hidden(profile, "a")
    assert found.rows.seconds == 4e-6 and found.fits
