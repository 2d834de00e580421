"""Models as sources of shapes: the packaged ones, formulas, tags, and what is broken in a model file."""

from pathlib import Path
from textwrap import dedent

import pytest

from pytest_dsbench import modelfile
from pytest_dsbench.contracts import KERNELS, contracts
from pytest_dsbench.dims import built
from pytest_dsbench.mistake import Mistake
from pytest_dsbench.model import Point
from pytest_dsbench.operators import find
from pytest_dsbench.shapes import Case, bundled, load

ROOT = Path(__file__).parent.parent
DEEPSEEK = modelfile.load(ROOT / "models" / "deepseek_r1.toml")
QWEN = modelfile.load(ROOT / "models" / "qwen3_8b.toml")
SHAPES = load(bundled(), ROOT)


def tagged(*tags: str) -> list[Case]:
    return [case for case in SHAPES.cases if set(tags) <= set(case.tags)]


def test_deepseek_r1_has_the_sizes_of_its_config() -> None:
    assert {name: DEEPSEEK.constants[name] for name in ("hidden", "q_lora_rank", "kv_lora_rank", "heads")} == {
        "hidden": 7168,
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "heads": 128,
    }
    assert [DEEPSEEK.constants[name] for name in ("nope_dim", "rope_dim", "v_dim")] == [128, 64, 128]
    assert [DEEPSEEK.constants[name] for name in ("experts", "top_k", "intermediate", "groups", "kept_groups")] == [
        256,
        8,
        2048,
        8,
        4,
    ]
    assert DEEPSEEK.constants["scaling"] == 2.5
    assert DEEPSEEK.kinds() == {"dense": 3, "moe": 58}


def test_the_sequence_of_a_decode_layer() -> None:
    decode, prefill = DEEPSEEK.phase
    names = [op.name for op in DEEPSEEK.ops(decode) if op.instead_of is None and op.layers != ("dense",)]
    assert names == [
        "input_layernorm",
        "fused_qkv_a_proj",
        "q_a_layernorm",
        "kv_a_layernorm",
        "q_b_proj",
        "q_nope*w_kc",
        "rotary_emb",
        "attn_mqa",
        "attn*w_vc",
        "o_proj",
        "post_attention_layernorm",
        "gate",
        "topk",
        *(
            f"experts.{part}"
            for part in ("prepare", "quantise", "gate_up", "activation", "quantise_again", "down", "shuffle_sum")
        ),
    ]
    prefilled = {op.name: op.operator for op in DEEPSEEK.ops(prefill)}
    assert prefilled["attn_mha"] == "mla_ragged_prefill" and "attn_mqa" not in prefilled and "q_nope*w_kc" not in prefilled
    assert [point.batch for point in DEEPSEEK.points(decode) if point.context == 4096] == [1, 8, 16, 32, 64, 128]
    assert {point.sequence for point in DEEPSEEK.points(decode)} == {1}
    assert list(DEEPSEEK.points(prefill)) == [Point(batch=1, sequence=s, context=s) for s in (128, 256, 512, 1024, 2048)]


def test_every_one_of_the_23_kernels_has_a_case_in_the_model() -> None:
    operators = {op.operator for op in DEEPSEEK.op}
    of_kernel = {one.place: one.operator for one in contracts() if one.operator in operators}
    assert set(of_kernel) == set(KERNELS)
    assert {case.op.name for case in tagged("deepseek_r1")} == operators


@pytest.mark.parametrize(
    ("name", "batch", "dims"),
    [
        ("q_b_proj", 16, {"m": 16, "n": 24576, "k": 1536}),
        ("o_proj", 128, {"m": 128, "n": 7168, "k": 16384}),
        ("q_nope*w_kc", 8, {"batch": 128, "m": 8, "n": 512, "k": 128}),
        ("attn*w_vc", 8, {"batch": 128, "m": 8, "n": 128, "k": 512}),
        ("fused_qkv_a_proj", 1, {"tokens": 1}),
        ("q_a_layernorm", 1, {"tokens": 1, "hidden": 1536}),
        ("kv_a_layernorm", 1, {"tokens": 1, "hidden": 512}),
        ("experts.gate_up", 64, {"tokens": 64, "experts": 256, "top_k": 8, "n": 4096, "k": 7168}),
        ("experts.down", 64, {"tokens": 64, "experts": 256, "top_k": 8, "n": 7168, "k": 2048}),
        ("experts.activation", 64, {"tokens": 512, "hidden": 2048}),
        ("attn_mqa", 8, {"heads": 128, "kv_lens": [4096] * 8}),
    ],
)
def test_shapes_follow_from_the_batch(name: str, batch: int, dims: dict[str, object]) -> None:
    (op,) = [one for one in DEEPSEEK.op if one.name == name]
    built = DEEPSEEK.build(op, Point(batch=batch, sequence=1, context=4096))
    assert built == find(op.operator).build(dims)


def test_cases_carry_the_model_the_phase_and_the_op_as_tags() -> None:
    (case,) = [case for case in tagged("deepseek_r1", "o_proj", "prefill") if case.op.m == 1024]  # type: ignore[attr-defined]
    assert case.tags == ("deepseek_r1", "prefill", "o_proj") and case.model == "deepseek_r1"
    assert case.where.startswith("models/deepseek_r1.toml:")
    line = (ROOT / "models" / "deepseek_r1.toml").read_text().splitlines()[case.line]
    assert line == 'name = "o_proj"'


def test_a_shape_that_is_in_a_shape_file_too_gets_the_tags_of_the_model() -> None:
    (case,) = [case for case in tagged("production", "deepseek_r1") if case.label == "tokens8192-hidden2048"]
    assert case.model is None and case.provenance.id is not None and case.importance is not None
    ops = [case.op for case in SHAPES.cases]
    assert len(ops) == len(set(ops))
    # The other way round, too: what a shape file says of a shape is not lost.
    turned = {one.op: one for one in load(tuple(reversed(bundled())), ROOT).cases}
    assert turned[case.op].provenance == case.provenance and set(turned[case.op].tags) == set(case.tags)


def test_a_second_model_is_only_data() -> None:
    assert QWEN.kinds() == {"dense": 36}
    assert not [path for path in (ROOT / "pytest_dsbench").rglob("*.py") if "qwen3_8b" in path.read_text()]
    (op,) = [one for one in QWEN.op if one.name == "attn"]
    built = QWEN.build(op, Point(batch=2, sequence=3, context=9))
    assert built == find("unified_attention").build(
        {"q_heads": 32, "kv_heads": 8, "head_dim": 128, "q_lens": [3, 3], "kv_lens": [9, 9]}
    )


SMALL = """
    model = "tiny"
    title = "Tiny"
    source = "made up"
    [constants]
    hidden = 64
    word = "fp16"
    [derived]
    tokens = "= batch * sequence"
    [layers]
    all = 2
    [[phase]]
    name = "decode"
    batch = [1, 4]
    sequence = [1]
    context = [8]
    [[op]]
    name = "norm"
    operator = "rms_norm"
    category = "norm"
    dims = { tokens = "= tokens", hidden = "= hidden", dtype = "= word" }
"""


def written(tmp_path: Path, old: str = "", new: str = "") -> Path:
    text = dedent(SMALL).lstrip("\n")
    assert old in text
    path = tmp_path / "tiny.toml"
    path.write_text(text.replace(old, new, 1) if old else text)
    return path


def test_a_small_model(tmp_path: Path) -> None:
    found = load([written(tmp_path)], tmp_path)
    assert not found.broken
    assert [case.op for case in found.cases] == [
        find("rms_norm").build({"tokens": tokens, "hidden": 64, "dtype": "fp16"}) for tokens in (1, 4)
    ]
    assert [case.tags for case in found.cases] == [("tiny", "decode", "norm")] * 2


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        ('title = "Tiny"', 'titel = "Tiny"', 2, "unknown key of a model file 'titel'; did you mean 'title'?"),
        ('source = "made up"\n', "", 1, "key 'source' is missing"),
        ('model = "tiny"', 'model = "ti-ny"', 1, "tag 'ti-ny' cannot be a pytest mark"),
        ("all = 2", 'all = "= layers"', 9, "formula '= layers': unknown name 'layers'"),
        ("batch = [1, 4]", "batch = []", 11, "phase 'decode' has 0 points; expected at least 1"),
        ("batch = [1, 4]", "batch = [0]", 11, "phase 'decode' has a point B=0 S=1 context 8; expected integers of at least 1"),
        ("batch = [1, 4]", "batches = [1]", 11, "unknown key of [[phase]] 'batches'; did you mean 'batch'?"),
        ("context = [8]", 'context = ["= sequnce"]', 11, "formula '= sequnce': unknown name 'sequnce'; did you mean 'sequence'?"),
        (
            "context = [8]",
            "context = [8]\nshown = [{ batch = 2, sequence = 1, context = 8 }]",
            11,
            "phase 'decode' shows B=2 S=1 context 8",
        ),
        (
            'operator = "rms_norm"',
            'operator = "rms_nrom"',
            16,
            "op 'norm': unknown operator 'rms_nrom'; did you mean 'rms_norm'?",
        ),
        ('"= hidden"', '"= hiden"', 16, "op 'norm': formula '= hiden': unknown name 'hiden'; did you mean 'hidden'?"),
        ('"= word"', '"fp8"', 16, "op 'norm': rms_norm: unknown dtype 'fp8'"),
        (
            'category = "norm"',
            'category = "norm"\nphases = ["decod"]',
            16,
            "op 'norm': unknown phase 'decod'; did you mean 'decode'?",
        ),
        ('category = "norm"', 'category = "norm"\nlayers = ["moe"]', 16, "op 'norm': unknown kind of layer 'moe'"),
        ('category = "norm"', 'category = "norm"\ninstead_of = "nrm"', 16, "op 'norm': unknown op or group 'nrm'"),
        (
            'tokens = "= batch * sequence"',
            'tokens = "= batch / sequence"',
            16,
            "op 'norm': formula '= batch / sequence' divides with /",
        ),
    ],
)
def test_what_is_broken_is_named_at_its_line(tmp_path: Path, old: str, new: str, line: int, sentence: str) -> None:
    path = written(tmp_path, old, new)
    found = load([path], tmp_path)
    assert not found.cases
    (broken,) = found.broken
    assert (broken.path, broken.line) == ("tiny.toml", line) and broken.sentence.startswith(sentence)
    with pytest.raises(Mistake) as raised:
        modelfile.load(path)
    assert str(raised.value).startswith(f"{path}:{line}: {sentence}")


@pytest.mark.parametrize("text", ['model = "x"\n', 'model = "x"\nphase = 3\n', 'model = "x"\n[[phase]]\nname = "a"\n'])
def test_a_model_without_phases_or_ops_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    (broken,) = load([path], tmp_path).broken
    assert broken.sentence.startswith("no [[") and broken.sentence.endswith("]]; a model needs at least one")


def test_one_broken_op_leaves_the_others(tmp_path: Path) -> None:
    more = '[[op]]\nname = "act"\noperator = "silu_and_mul"\ncategory = "x"\ndims = { tokens = "= tokens", hiden = 8 }\n'
    path = written(tmp_path)
    path.write_text(path.read_text() + more)
    found = load([path], tmp_path)
    assert [case.op.name for case in found.cases] == ["rms_norm", "rms_norm"]
    assert [(one.operator, one.line) for one in found.broken] == [("silu_and_mul", 21)]


def test_the_encoding_is_the_devices_where_none_is_given() -> None:
    given = {"m": "= rows", "n": 128, "k": 128}
    assert built("block_scaled_mm", given, {"rows": 7}, "fp8_e4m3fnuz") == find("block_scaled_mm")(
        m=7, n=128, k=128, fp8="fp8_e4m3fnuz"
    )
    assert built("block_scaled_mm", {**given, "fp8": "fp8_e4m3"}, {"rows": 7}, "fp8_e4m3fnuz") == find("block_scaled_mm")(
        m=7, n=128, k=128
    )
    assert built("rms_norm", {"tokens": "= rows", "hidden": 64}, {"rows": 7}, "fp8_e4m3fnuz") == find("rms_norm")(
        tokens=7, hidden=64
    )


def test_models_are_found_by_name(tmp_path: Path) -> None:
    written(tmp_path)
    assert modelfile.named("tiny", [tmp_path, *bundled()]).title == "Tiny"
    assert modelfile.named(str(tmp_path / "tiny.toml"), []).title == "Tiny"
    assert modelfile.named("deepseek_r1", [tmp_path, *bundled()]) == DEEPSEEK
    with pytest.raises(
        Mistake, match=r"unknown model 'deepseek'; did you mean 'deepseek_r1'\? known: .*tiny, or the path of a \.toml file"
    ):
        modelfile.named("deepseek", [tmp_path, *bundled()])
    with pytest.raises(Mistake, match="cannot read the model .*none.toml: No such file"):
        modelfile.named(str(tmp_path / "none.toml"), [])
