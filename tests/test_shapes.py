"""Shape files: sweeps, formulas, tags, labels, and one sentence with path:line for everything that is wrong."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dsbench import operator, shapefile
from pytest_dsbench.dims import describe, list_fields, read_dims
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.operator import Dim, Operator
from pytest_dsbench.operators import find
from pytest_dsbench.positions import key_line, row_lines
from pytest_dsbench.shapes import Broken, Case, Shapes, bundled, load
from pytest_dsbench.sweep import combinations, count
from pytest_dsbench.work import Work

Read = Callable[..., Shapes]
RMS = find("rms_norm")
ATTENTION = find("attention_forward")
ALL = load(bundled())


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a shape file of the given text."""

    def reading(text: str, name: str = "a.toml") -> Shapes:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return load([tmp_path / name], tmp_path)

    return reading


def rows(text: str, operator: str = "rms_norm", head: str = "") -> str:
    return f'operator = "{operator}"\n{head}\ncase = [\n{text}\n]\n'


def dims(found: Shapes, *names: str) -> list[tuple[Any, ...]]:
    assert not found.broken, [str(one) for one in found.broken]
    return [tuple(getattr(case.op, name) for name in names) for case in found.cases]


def only(found: Shapes) -> Broken:
    (broken,) = found.broken
    return broken


# -- sweeps and formulas ------------------------------------------------------------------------------------------------------


def test_a_list_is_a_sweep_and_several_multiply(read: Read) -> None:
    found = read(rows("{ tokens = [1, 8, 64], hidden = [4096, 7168] }"))
    assert dims(found, "tokens", "hidden") == [(1, 4096), (1, 7168), (8, 4096), (8, 7168), (64, 4096), (64, 7168)]
    assert {case.line for case in found.cases} == {4}


def test_defaults_are_overridden_by_rows(read: Read) -> None:
    head = 'defaults = { dtype = "fp16", hidden = [2, 4], eps = 1e-5 }'
    found = read(rows("{ tokens = 1 },\n{ tokens = 2, hidden = 8, dtype = 'fp32' }", head=head))
    assert dims(found, "tokens", "hidden", "dtype", "eps") == [
        (1, 2, "fp16", 1e-5),
        (1, 4, "fp16", 1e-5),
        (2, 8, "fp32", 1e-5),
    ]


def test_formulas_use_dimensions_defaults_helpers_and_tp(read: Read) -> None:
    found = read(
        rows(
            '{ tokens = [2, 3], hidden = "= _heads * 128 // tp", _heads = "= tokens * 8", tp = 4 },\n'
            '{ tokens = "= hidden", hidden = "= tp + 1", tp = 7 },\n'
            '{ tokens = "= tp", hidden = 5, _tp = 2, tp = "TP4" , _x = 1 }'
        )
    )
    assert dims(Shapes(cases=found.cases, broken=()), "tokens", "hidden") == [(2, 512), (3, 768), (8, 8)]
    assert only(found).sentence.startswith("formula '= tp': unknown name 'tp'; did you mean '_tp'?")
    assert [case.provenance.tp for case in found.cases] == [4, 4, 7]


def test_a_helper_may_be_swept_or_be_a_list(read: Read) -> None:
    text = '{ heads = 1, head_dim = 8, seq_lens = "= _one * _times + [_tail]", _one = [[256]], _times = [1, 3], _tail = 17 }'
    assert dims(read(rows(text, "attention_forward")), "seq_lens") == [((256, 17),), ((256, 256, 256, 17),)]


def test_a_dimension_of_the_class_may_be_used_by_default(read: Read) -> None:
    found = read(rows('{ m = 4, n = "= group_n * 2", k = "= group_k" }', "block_scaled_mm"))
    assert dims(found, "n", "k") == [(256, 128)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[720, 1200]", [(720, 1200)]),
        ("[[720, 1200], [17]]", [(720, 1200), (17,)]),
        ('["= [heads] * 2", "= [17]"]', [(3, 3), (17,)]),
        ('"= [heads, 4]"', [(3, 4)]),
        ("[[720]]", [(720,)]),
    ],
)
def test_a_list_dimension_is_swept_by_a_list_of_lists(read: Read, value: str, expected: list[tuple[int, ...]]) -> None:
    found = read(rows(f"{{ heads = 3, head_dim = 8, seq_lens = {value} }}", "attention_forward"))
    assert dims(found, "seq_lens") == [(one,) for one in expected]


def test_a_list_of_lists_and_numbers_is_no_sweep(read: Read) -> None:
    found = read(rows("{ heads = 3, head_dim = 8, seq_lens = [[720], 1200] }", "attention_forward"))
    assert only(found).sentence == "attention_forward: dimension 'seq_lens' is [[720], 1200]; expected int, got array"


def test_sweeps_of_both_kinds_multiply() -> None:
    given = {"heads": [1, 2], "head_dim": 8, "seq_lens": [[3], [4, 5]]}
    assert count(ATTENTION, given) == 4
    found = list(combinations(ATTENTION, given, None))
    assert [(one["heads"], one["seq_lens"]) for one in found] == [(1, [3]), (1, [4, 5]), (2, [3]), (2, [4, 5])]


def test_plain_tuples_are_list_dimensions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator, "_REGISTRY", dict(operator._REGISTRY))

    class Ragged(Operator):
        plain: tuple[int, ...]
        pair: tuple[Dim, Dim] = (1, 2)
        rows: Dim = 1
        dtype: str = "bf16"
        out_dtype: str = "bf16"

        def work(self) -> Work:
            return Work(read=1, written=1)

    assert list_fields(Ragged) == {"plain", "pair"}
    assert count(Ragged, {"plain": [1, 2], "rows": [1, 2, 3]}) == 3
    # Two dimensions that are words must not be taken for each other.
    labels = [describe(Ragged(plain=(1,), **{name: "fp16"})) for name in ("dtype", "out_dtype")]
    assert labels == ["plain1-fp16", "plain1-out_dtype_fp16"]


# -- what a row says beside its dimensions ------------------------------------------------------------------------------------


def test_what_a_row_says(read: Read) -> None:
    head = 'tags = ["production"]\nimportance = 0.5\nsource = "s"\nproduction_on = "h20"\ndefaults = { library = "aiter" }'
    row = (
        '{ id = 7, tokens = 1, hidden = 2, from = "vLLM", tp = 4, calls = 3, trace_us = 1.5, production_us = 2, note = "n",'
        ' label = "mine", tags = ["decode", "production"], importance = 0.25 },\n{ tokens = 2, hidden = 2 }'
    )
    first, second = read(rows(row, head=head)).cases
    assert (first.label, first.tags, first.importance) == ("mine", ("production", "decode"), 0.25)
    known = first.provenance
    assert (known.id, known.framework, known.tp, known.calls, known.trace_us) == (7, "vLLM", 4, 3, 1.5)
    assert (known.production_us, known.library, known.note) == (2.0, "aiter", "n")
    assert (first.source, first.production_on, first.where) == ("s", "h20", "a.toml:8")
    assert (second.label, second.tags, second.importance) == ("tokens2-hidden2", ("production",), 0.5)
    assert second.provenance.library == "aiter" and second.provenance.id is None


def test_a_label_on_a_sweep_does_not_name_every_case(read: Read) -> None:
    found = read(rows('{ tokens = [1, 2], hidden = 2, label = "mine" }'))
    assert [case.label for case in found.cases] == ["tokens1-hidden2", "tokens2-hidden2"]


# -- mistakes -----------------------------------------------------------------------------------------------------------------

ROW = "{ tokens = 1, hidden = 2 }"


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("{ tokens = 1, hiden = 2 }", "unknown dimension of rms_norm 'hiden'; did you mean 'hidden'?"),
        ("{ tokens = 1 }", "rms_norm: .*hidden"),
        ("{ tokens = '1', hidden = 2 }", "rms_norm: dimension 'tokens' is '1'; expected int, got str"),
        ("{ tokens = 1.0, hidden = 2 }", "rms_norm: dimension 'tokens' is 1.0; expected int, got float"),
        ("{ tokens = true, hidden = 2 }", "rms_norm: dimension 'tokens' is True; expected int, got bool"),
        ("{ tokens = 0, hidden = 2 }", "rms_norm: dimension 'tokens' is 0; expected int >= 1"),
        ("{ tokens = [3, -4], hidden = 2 }", "rms_norm: dimension 'tokens' is -4; expected int >= 1"),
        (f"{{ tokens = {2**40 + 1}, hidden = 2 }}", f"rms_norm: dimension 'tokens' is {2**40 + 1}; expected int <= {2**40}"),
        (f"{{ tokens = {10**30}, hidden = 2 }}", "rms_norm: dimension 'tokens' is 10{30}; expected int <="),
        (f"{{ tokens = {2**40}, hidden = {2**40} }}", "rms_norm: these dimensions overflow: 4.84e\\+24 bytes fit in no memory"),
        ("{ tokens = [], hidden = 2 }", "'tokens' is an empty list; a sweep needs at least one value"),
        ("{ tokens = [[1]], hidden = 2 }", "rms_norm: dimension 'tokens' is \\[1\\]; expected int, got array"),
        ("{ tokens = '= hiden', hidden = 2 }", "formula '= hiden': unknown name 'hiden'; did you mean 'hidden'?"),
        ("{ tokens = '= hidden // 0', hidden = 2 }", "formula '= hidden // 0' divides by zero"),
        ("{ tokens = '= max(1)', hidden = 2 }", "formula '= max\\(1\\)' calls a function"),
        ("{ tokens = '= hidden', hidden = '= _a', _a = '= tokens' }", "the formulas of tokens, hidden, _a refer to each other"),
        ("{ tokens = '= tokens', hidden = 2 }", "the formulas of tokens refer to each other in a circle"),
        ("{ tokens = 1, hidden = 2, tags = 'x' }", "key 'tags': expected list, got str"),
        ("{ tokens = 1, hidden = 2, tags = ['x y'] }", "tag 'x y' cannot be a pytest mark; expected "),
        ("{ tokens = 1, hidden = 2, tags = [1] }", "key 'tags': expected str, got int"),
        ("{ tokens = 1, hidden = 2, id = 'x' }", "key 'id': expected int, got str"),
        ("{ tokens = [3, 4], hidden = 2, id = 5 }", "id 5 stands on a sweep of 2 cases; it names one case"),
        (ROW, "duplicate case: rms_norm at tokens1-hidden2 is already declared at a.toml:4"),
        (
            "{ tokens = 1, hidden = 2, eps = 1e-6, label = 'other' }",
            "duplicate case: rms_norm at other is already declared at a.toml:4",
        ),
    ],
)
def test_a_bad_row_stops_no_other(read: Read, row: str, sentence: str) -> None:
    found = read(rows(f"{ROW},\n{row},\n{{ tokens = 9, hidden = 9 }}"))
    broken = only(found)
    assert re.match(sentence, broken.sentence), broken.sentence
    assert (broken.operator, str(broken)) == ("rms_norm", f"a.toml:5: {broken.sentence}")
    assert [case.label for case in found.cases] == ["tokens1-hidden2", "tokens9-hidden9"]
    assert [case.line for case in found.cases] == [4, 6]


@pytest.mark.parametrize(
    ("text", "line", "operator", "sentence"),
    [
        ("", 1, None, 'no `operator`; expected operator = "name"'),
        ("case = []\n", 1, None, "no `operator`"),
        ('\n\noperator = "rms_nrom"\n', 3, "rms_nrom", "unknown operator 'rms_nrom'; did you mean 'rms_norm'?"),
        ("\noperator = 5\n", 2, None, "key 'operator': expected str, got int"),
        ('operator = "rms_norm"\ncases = []\n', 2, "rms_norm", "unknown key of a shape file 'cases'; did you mean 'case'?"),
        ('operator = "rms_norm"\ncase = 5\n', 2, "rms_norm", "key 'case': expected list, got int"),
        ('operator = "rms_norm"\n\ncase = [1]\n', 3, "rms_norm", "key 'case': expected table, got int"),
        ('operator = "rms_norm"\n# tags = 1\ntags = ["a b"]\n', 3, "rms_norm", "tag 'a b' cannot be a pytest mark"),
        ('operator = "rms_norm"\ntags = ["rms_norm!"]\n', 2, "rms_norm", "tag 'rms_norm!' cannot be a pytest mark"),
        ('operator = "rms_norm"\nimportance = "x"\n', 2, "rms_norm", "key 'importance': expected float, got str"),
        ('operator = "rms_norm"\n\n[defaults]\nhiden = 5\n', 3, "rms_norm", "unknown dimension of rms_norm 'hiden'"),
        ('operator = "rms_norm"\ndefaults.hiden = 5\n', 2, "rms_norm", "unknown dimension of rms_norm 'hiden'"),
        ('operator = "rms_norm"\ndefaults = { id = "x" }\n', 2, "rms_norm", "key 'id': expected int, got str"),
        ('operator = "rms_norm"\ncase = [\n{ tokens = }\n]', 3, "rms_norm", "not TOML: Invalid value (at line 3"),
        ('operator = "rms_norm"\ncase = [\n', 2, "rms_norm", "not TOML: "),
        ("operator = 'rms_norm'\noperator = 'x'\n", 2, "rms_norm", "not TOML: Cannot overwrite a value"),
        (f"operator = 'rms_norm'\nimportance = {'9' * 5000}\n", 2, "rms_norm", "not TOML: Exceeds the limit"),
        (f"case = {'[' * 5000}", 1, None, "not TOML: maximum recursion depth exceeded"),
        ("\ufeffoperator = 'rms_norm'\n", 1, None, "not TOML: Invalid statement"),
    ],
)
def test_a_bad_file(read: Read, text: str, line: int, operator: str | None, sentence: str) -> None:
    found = read(text)
    broken = only(found)
    assert broken.sentence.startswith(sentence)
    assert (broken.path, broken.line, broken.operator) == ("a.toml", line, operator)
    assert not found.cases and "\n" not in str(broken)


@given(
    st.lists(st.sampled_from([*"[]{}='\",#\n\\ ", "case", "tokens", "= 1", "defaults", "hidden = 2", "\ud800"]), max_size=30).map(
        "".join
    )
)
def test_any_text_is_read_without_a_crash(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(f"operator = 'rms_norm'\n{text}".encode(errors="surrogatepass"))
    found = load([path])
    assert all(1 <= broken.line <= text.count("\n") + 2 for broken in found.broken)


def test_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.toml").write_text(rows("{ tokens = 2, hidden = 2 }"))
    (tmp_path / "a.toml").write_text(rows(ROW))
    (tmp_path / "broken.toml").write_text("operator = ")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "notes.txt").write_text("operator = ")
    found = load([tmp_path, tmp_path / "nowhere", tmp_path / "a.toml"], tmp_path)
    assert [case.where for case in found.cases] == ["a.toml:4", "b/x.toml:4"]
    assert [str(one) for one in found.broken] == [
        "broken.toml:1: not TOML: Invalid value (at end of document)",
        "folder.toml:1: cannot be read: Is a directory",
        "nowhere:1: no such shape file or folder",
        "a.toml:4: duplicate case: rms_norm at tokens1-hidden2 is already declared at a.toml:4",
    ]
    assert load([tmp_path / "a.toml"]).cases[0].path == str(tmp_path / "a.toml")
    assert [case.label for case in found.of("rms_norm")] == ["tokens1-hidden2", "tokens2-hidden2"]
    assert found.of("layer_norm") == ()


def test_a_sweep_that_explodes_is_refused_before_it_is_made(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapefile, "MOST_CASES", 6)
    fine = "{ tokens = [1, 2, 3, 4], hidden = 2 }"
    found = read(rows(f"{fine},\n{{ tokens = [5, 6, 7], hidden = 2 }},\n{{ tokens = [5, 6], hidden = 2 }}"))
    assert only(found).sentence == "the sweep explodes: 7 cases in this file; at most 6 are allowed"
    assert only(found).line == 5
    assert [case.op.tokens for case in found.cases] == [1, 2, 3, 4, 5, 6]  # type: ignore[attr-defined]


def test_the_limit_is_a_hundred_thousand(read: Read) -> None:
    thousand = list(range(1, 1001))
    found = read(rows(f"{{ tokens = {thousand}, hidden = {thousand}, eps = {[n * 1e-9 for n in thousand]} }}"))
    assert only(found).sentence == "the sweep explodes: 1,000,000,000 cases in this file; at most 100,000 are allowed"


# -- positions ----------------------------------------------------------------------------------------------------------------

HEAD = "operator = 'rms_norm'\n"
#: Texts in which every row says on which line it begins, by `tokens`.
LAYOUTS = {
    "a row a line": "case = [\n  { tokens = 3, hidden = 1 },\n\n  { tokens = 5, hidden = 1 },\n]\n",
    "all on one line": "case = [{ tokens = 2, hidden = 1 }, { tokens = 2, hidden = 2 }]\n",
    "the first behind the bracket": "case = [{ tokens = 2, hidden = 1 },\n{ tokens = 3, hidden = 1 }]\n",
    "comments with braces": """\
# case = [ {
# [[case]] } ]
case = [ # { [
  # { tokens = 1 }, ] }
  { tokens = 6, hidden = 1 }, # }
  { tokens = 7, hidden = 1 },
]
""",
    "strings with brackets": r"""
source = "] case = [ { \" }"
case = [
  { tokens = 5, hidden = 1, note = "}, { # \" {" },
  { tokens = 6, hidden = 1, note = ']] {{' },
  { tokens = 7, hidden = 1 },
]
""",
    "strings of several lines": r'''
source = """
[[case]]
case = [
{ tokens = 1 },
\"""
"""
case = [
  { tokens = 10, hidden = 1 },
  { note = """
{
""", tokens = 11, hidden = 1 },
  { tokens = 14, hidden = 1 },
]
''',
    "literal strings of several lines": r"""
source = '''
[[case]]
\
'''
case = [
  { tokens = 8, hidden = 1 },
  { note = '''{
'''', tokens = 9, hidden = 1 },
  { tokens = 11, hidden = 1 },
]
""",
    "quotes at the end of a string": '''\
source = """a"""""
production_on = """"b""""
case = [
  { tokens = 5, hidden = 1, note = "" },
  { tokens = 6, hidden = 1, note = """{"""", label = "} {" },
  { tokens = 7, hidden = 1, note = \'\'\'{\'\'\'\', label = '} {' },
  { tokens = 8, hidden = 1 },
]
''',
    "blocks": """
[[case]]
tokens = 3
hidden = 1
  [[ case ]]  # second
hidden = 1
tokens = 6
note = '''
[[case]]
'''
[['case']]
tokens = 12
hidden = 1
[["case"]]
tokens = 15
hidden = 1
""",
    "a quoted key": '"case" = [\n  { tokens = 3, hidden = 1 },\n]\n',
    "keys behind the rows": "'case' = [\n  { tokens = 3, hidden = 1 },\n  { tokens = 4, hidden = 1 },\n]\ntags = ['x']\n",
    "lists in rows": "case = [\n  { tokens = [3], hidden = [1,\n  2], tags = ['a', 'b'] },\n  { tokens = 5, hidden = 1 },\n]\n",
    "windows": "case = [\r\n  { tokens = 3, hidden = 1 },\r\n  { tokens = 4, hidden = 1 },\r\n]\r\n",
    "a table of defaults": "[defaults]\nhidden = 1\n[[case]]\ntokens = 4\n[[case]]\ntokens = 6\n",
    "defaults called like rows": "defaults = { hidden = 1, note = 'case = [' }\ncase = [\n{ tokens = 4 },\n{ tokens = 5 }]",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_lines_of_rows(tmp_path: Path, layout: str) -> None:
    (tmp_path / "a.toml").write_bytes((HEAD + LAYOUTS[layout]).encode())
    found = load([tmp_path / "a.toml"])
    assert not found.broken and found.cases
    assert [case.line for case in found.cases] == [case.op.tokens for case in found.cases]  # type: ignore[attr-defined]


def test_lines_of_rows_that_hold_tables(read: Read) -> None:
    found = read(
        rows("{ tokens = { a = [{ b = 1 }] }, hidden = 1 },\n{ tokens = 5, hidden = { a = 1 } },\n{ tokens = 6, hidden = 1 }")
    )
    assert [one.line for one in found.broken] == [4, 5] and [case.line for case in found.cases] == [6]
    found = read("operator = 'rms_norm'\n[[case]]\ntokens = 1\n[case.hidden]\nx = 1\n[[case]]\ntokens = 6\nhidden = 1\n")
    assert [one.line for one in found.broken] == [2] and [case.line for case in found.cases] == [6]


def test_a_file_without_rows_has_no_lines() -> None:
    assert row_lines("operator = 'x'\n") == [] == row_lines("case = []\n")


def test_lines_of_keys() -> None:
    text = "'''\ntags = 1\n'''\n# tags = 2\n [tags]\n\"source\" = 1\ncase.x = 2\n"
    assert [key_line(text, key) for key in ("tags", "source", "case", "nothing", "")] == [5, 6, 7, 1, 1]


# -- labels -------------------------------------------------------------------------------------------------------------------


def test_bundled_labels_are_unique_and_usable_with_k() -> None:
    labels = [(case.op.name, case.label) for case in ALL.cases]
    assert len(set(labels)) == len(labels) >= 200 and not ALL.broken
    for _, label in labels:
        assert re.fullmatch(r"[\w.+-]+", label) and len(label) <= 100


@pytest.mark.parametrize(
    ("name", "dims", "label"),
    [
        ("rms_norm", {"tokens": 1, "hidden": 2}, "tokens1-hidden2"),
        ("rms_norm", {"tokens": 1, "hidden": 2, "dtype": "fp16", "eps": 1e-5}, "tokens1-hidden2-fp16-eps1e-05"),
        ("attention_forward", {"heads": 1, "head_dim": 2, "seq_lens": (5,)}, "heads1-head_dim2-seq_lens5"),
        ("attention_forward", {"heads": 1, "head_dim": 2, "seq_lens": (9, 9, 5, 9)}, "heads1-head_dim2-seq_lens9x2+5+9"),
        (
            "attention_forward",
            {"heads": 1, "head_dim": 2, "seq_lens": (1, 2, 3, 4, 5, 6)},
            "heads1-head_dim2-seq_lens1+2+3+4+5+6",
        ),
        (
            "attention_forward",
            {"heads": 1, "head_dim": 2, "seq_lens": (1, 2, 3, 4, 5, 6, 7, 8)},
            "heads1-head_dim2-seq_lens1+2+3+4+5+8sum36",
        ),
    ],
)
def test_labels(name: str, dims: dict[str, Any], label: str) -> None:
    assert describe(find(name).build(dims)) == label


def test_every_bundled_case_can_be_declared_once_more_by_its_dimensions() -> None:
    case: Case
    for case in ALL.cases:
        words = {name: getattr(case.op, name) for name in case.op.__struct_fields__}
        given = [f"{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}" for name, value in words.items()]
        kind = type(case.op)
        assert kind.build(read_dims(kind, given)) == case.op


# -- dimensions of the command line -------------------------------------------------------------------------------------------


def test_dimensions_of_the_command_line() -> None:
    assert read_dims(RMS, ["tokens=4096", "dtype=fp16", "eps=1e-5"]) == {"tokens": 4096, "dtype": "fp16", "eps": 1e-5}
    assert read_dims(ATTENTION, ["seq_lens=720", "heads=2"]) == {"seq_lens": [720], "heads": 2}
    assert read_dims(ATTENTION, ["seq_lens=720,1200"]) == {"seq_lens": [720, 1200]}
    assert read_dims(RMS, []) == {}


def test_what_is_no_dimension_of_the_command_line() -> None:
    with pytest.raises(Mistake, match="'4096' is not a dimension; expected dim=value, such as tokens=4096"):
        read_dims(RMS, ["4096"])
    with pytest.raises(Mistake, match="dimension 'tokens' is '1,2'; expected int, got str"):
        RMS.build(read_dims(RMS, ["tokens=1,2", "hidden=4"]))


def test_rows_without_an_encoding_take_the_device_s(tmp_path: Path) -> None:
    file = tmp_path / "quant.toml"
    rows = '{ tokens = 1, hidden = 8 }, { tokens = 2, hidden = 8, fp8 = "fp8_e4m3" }'
    file.write_text(f'operator = "fp8_dynamic_per_token_quant"\ncase = [{rows}]\n')
    assert [case.op.fp8 for case in load([file]).cases] == ["fp8_e4m3", "fp8_e4m3"]  # type: ignore[attr-defined]
    found = load([file], fp8="fp8_e4m3fnuz").cases
    assert [case.op.fp8 for case in found] == ["fp8_e4m3fnuz", "fp8_e4m3"]  # type: ignore[attr-defined]
    file.write_text('operator = "rms_norm"\ncase = [{ tokens = 1, hidden = 8 }]\n')
    assert not load([file], fp8="fp8_e4m3fnuz").broken
