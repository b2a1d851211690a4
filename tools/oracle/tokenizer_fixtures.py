#!/usr/bin/env python3
"""Writes tests/fixtures/tokenizer from the `tokenizers` and `sentencepiece` packages.

Reads corpus.jsonl there and writes
  VARIANT.json            tokenizer.json of a small BPE trained on the corpus
  VARIANT.expected.json   a case for each line of the corpus, see `expect`
  sentencepiece.json      what the metadata of a GGUF file with a SentencePiece vocabulary holds
  smollm2.expected.json   cases for the vocabulary inside SmolLM2's GGUF file
  offsets.json            for some variants, the bytes of the text that each token of a line stands for
  invalid_utf8.json       bytes in hexadecimal and how Python decodes them with errors="replace"
"""

import io
import json
import pathlib

import gguf
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers as pre
from tokenizers import processors, trainers

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "fixtures" / "tokenizer"
SMOLLM2 = ROOT / ".deps" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + SPACES
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + SPACES
UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + SPACES
)
DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*" + SPACES
)


def read_corpus():
    lines = (FOLDER / "corpus.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line)["text"] for line in lines if line]


CORPUS = read_corpus()
LATIN = [text for text in CORPUS if all(c < "\u0180" for c in text)]


def write_json(name, value):
    (FOLDER / name).write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


def ids_of(tokenizer, text, special_tokens=False, parse_special=True):
    tokenizer.encode_special_tokens = not parse_special
    ids = tokenizer.encode(text, add_special_tokens=special_tokens).ids
    tokenizer.encode_special_tokens = False
    return ids


def expect(tokenizer):
    """For each text: ids; under other keys only what differs from the obvious.

    decoded: tokenizer.decode(ids) where it is not the text; skipped: the same without special
    tokens where it is not `decoded`; plain: ids with special tokens as plain text where they are
    not `ids`. `around`: what add_special_tokens puts before and after a text.
    """
    cases = []
    for text in CORPUS:
        ids = ids_of(tokenizer, text)
        case = {"ids": ids}
        decoded = tokenizer.decode(ids, skip_special_tokens=False)
        skipped = tokenizer.decode(ids, skip_special_tokens=True)
        plain = ids_of(tokenizer, text, parse_special=False)
        if decoded != text:
            case["decoded"] = decoded
        if skipped != decoded:
            case["skipped"] = skipped
        if plain != ids:
            case["plain"] = plain
        cases.append(case)
    alone = ids_of(tokenizer, "a")
    framed = ids_of(tokenizer, "a", special_tokens=True)
    at = next(i for i in range(len(framed)) if framed[i : i + len(alone)] == alone)
    around = [framed[:at], framed[at + len(alone) :]]
    return {"around": around, "cases": cases}


def byte_level(**options):
    return pre.ByteLevel(**({"add_prefix_space": False, "use_regex": False} | options))


def trained(size=700, specials=("<|endoftext|>", "<|im_start|>", "<|im_end|>"), **parts):
    """A BPE trained on the corpus; the parts are set as attributes of the tokenizer."""
    options = {k: parts.pop(k) for k in ("byte_fallback", "fuse_unk", "unk_token") if k in parts}
    alphabet = parts.pop("alphabet", pre.ByteLevel.alphabet())
    added = parts.pop("added", [])
    ignore_merges = parts.pop("ignore_merges", False)
    texts = parts.pop("texts", CORPUS)
    tokenizer = Tokenizer(models.BPE(**options))
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=alphabet,
        special_tokens=list(specials),
        show_progress=False,
        limit_alphabet=5000,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if ignore_merges:
        tokenizer.model.ignore_merges = True
    tokenizer.add_tokens(added)
    return tokenizer


def template(before="", after=""):
    def of(tokenizer):
        names = before.split() + after.split()
        return processors.TemplateProcessing(
            single=" ".join([*before.split(), "$A", *after.split()]),
            special_tokens=[(name, tokenizer.token_to_id(name)) for name in names],
        )

    return of


ADDED = [
    AddedToken("<mask>", lstrip=True, special=True),
    AddedToken("<pad>", rstrip=True, special=True),
    AddedToken("tool", single_word=True, normalized=False),
    AddedToken("<extra>", normalized=True),
    AddedToken("<extra10>", normalized=False),
    AddedToken("Foo Bar", normalized=True),
    AddedToken("  <", normalized=False),
]
SENTENCEPIECE_DECODER = [
    decoders.Replace("▁", " "),
    decoders.ByteFallback(),
    decoders.Fuse(),
    decoders.Strip(" ", 1, 0),
]
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
LLAMA2_SPECIALS = ["<unk>", "<s>", "</s>", *BYTE_TOKENS]


def llama2(**parts):
    options = {
        "specials": LLAMA2_SPECIALS,
        "size": 900,
        "texts": LATIN,
        "byte_fallback": True,
        "fuse_unk": True,
        "unk_token": "<unk>",
        "alphabet": ["▁"],
        "decoder": decoders.Sequence(SENTENCEPIECE_DECODER),
    }
    tokenizer = trained(**(options | parts))
    # As published: byte tokens are plain vocabulary, not added tokens.
    value = json.loads(tokenizer.to_str())
    value["added_tokens"] = [t for t in value["added_tokens"] if t["content"] not in BYTE_TOKENS]
    return Tokenizer.from_str(json.dumps(value))


def variants():
    seq = pre.Sequence
    split = lambda pattern, behavior="isolated", **o: pre.Split(Regex(pattern), behavior, **o)
    byte_decoder = decoders.ByteLevel()
    yield "gpt2", trained(
        pre_tokenizer=byte_level(use_regex=True), decoder=byte_decoder, added=ADDED
    ), processors.ByteLevel(trim_offsets=False)
    yield "gpt2_prefix_space", trained(
        pre_tokenizer=byte_level(use_regex=True, add_prefix_space=True), decoder=byte_decoder
    ), None
    yield "smollm", trained(
        pre_tokenizer=seq([pre.Digits(individual_digits=True), byte_level(use_regex=True)]),
        decoder=byte_decoder,
    ), None
    yield "llama3", trained(
        specials=["<s>", "</s>"],
        ignore_merges=True,
        pre_tokenizer=seq([split(LLAMA3), byte_level()]),
        decoder=byte_decoder,
    ), lambda t: processors.Sequence([processors.ByteLevel(), template("<s>")(t)])
    yield "qwen2", trained(
        normalizer=normalizers.NFC(),
        pre_tokenizer=seq([split(QWEN2), byte_level()]),
        decoder=byte_decoder,
    ), processors.ByteLevel()
    yield "gpt4o", trained(
        pre_tokenizer=seq([split(GPT4O, "removed", invert=True), byte_level()]),
        decoder=byte_decoder,
    ), None
    yield "deepseek3", trained(
        pre_tokenizer=seq(
            [split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK3), byte_level()]
        ),
        decoder=byte_decoder,
    ), template("<|im_start|>", "<|im_end|>")
    yield "llama2", llama2(
        normalizer=normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        ),
    ), template("<s>", "</s>")
    yield "metaspace_first", llama2(
        pre_tokenizer=pre.Metaspace(prepend_scheme="first", split=False),
        added=[AddedToken("<mask>", lstrip=True, special=True)],
    ), template("<s>")
    yield "metaspace_always", llama2(
        size=800,
        byte_fallback=False,
        pre_tokenizer=pre.Metaspace(prepend_scheme="always", split=True),
        decoder=decoders.Metaspace(prepend_scheme="always", split=True),
    ), None
    yield "unk_fused", trained(
        size=400,
        texts=LATIN,
        specials=["<unk>"],
        alphabet=[],
        unk_token="<unk>",
        fuse_unk=True,
        normalizer=normalizers.Sequence(
            [normalizers.Strip(), normalizers.NFKC(), normalizers.Lowercase()]
        ),
        pre_tokenizer=seq([pre.Whitespace(), pre.Digits(individual_digits=False)]),
        added=[AddedToken("Foo Bar", normalized=True), AddedToken("tool", single_word=True)],
    ), None
    yield "unk_single", trained(
        size=300,
        texts=LATIN,
        specials=["<unk>"],
        alphabet=[],
        unk_token="<unk>",
        normalizer=normalizers.Sequence(
            [normalizers.NFD(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip(False)]
        ),
        pre_tokenizer=seq([pre.WhitespaceSplit(), pre.Punctuation("contiguous")]),
        decoder=decoders.Sequence([decoders.Replace(Regex("a+"), "A"), decoders.Fuse()]),
    ), None
    yield "behaviors", trained(
        normalizer=normalizers.NFKD(),
        pre_tokenizer=seq(
            [
                split(r"\p{Lu}", "merged_with_next"),
                split(r"[.,;]", "merged_with_previous"),
                split(r"\p{P}+", "contiguous"),
                pre.Split("the", "removed"),
                split(r"x*", "isolated"),
                split(r"[ \t]", "merged_with_next", invert=True),
                pre.Punctuation("merged_with_previous"),
                byte_level(),
            ]
        ),
        decoder=byte_decoder,
    ), None


def set_post_processor(tokenizer, processor):
    if processor is None:
        return
    made = processor if hasattr(processor, "num_special_tokens_to_add") else processor(tokenizer)
    tokenizer.post_processor = made


def as_published(tokenizer, legacy_merges):
    """The text of tokenizer.json; older files hold merges as "left right"."""
    value = json.loads(tokenizer.to_str())
    if legacy_merges:
        value["model"]["merges"] = [" ".join(pair) for pair in value["model"]["merges"]]
    return value


def write_sentencepiece():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([t for t in CORPUS if "\n" not in t and "\0" not in t]),
        model_writer=model,
        model_type="bpe",
        vocab_size=900,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        max_sentence_length=100000,
        minloglevel=2,
    )
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    size = sp.get_piece_size()

    def type_of(i):
        return 2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1

    value = {
        "tokens": [sp.id_to_piece(i) for i in range(size)],
        "scores": [sp.get_score(i) for i in range(size)],
        "token_types": [type_of(i) for i in range(size)],
        "bos": sp.bos_id(),
        "eos": sp.eos_id(),
        "unk": sp.unk_id(),
        # SentencePiece never reads control tokens in a text; its own NUL handling is left out.
        "cases": [None if "\0" in t else {"plain": sp.encode(t), "decoded": sp.decode(sp.encode(t))}
                  for t in CORPUS],
    }
    write_json("sentencepiece.json", value)


def smollm2():
    fields = gguf.GGUFReader(SMOLLM2).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre.Sequence(
        [pre.Digits(individual_digits=True), byte_level(use_regex=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [t for t, kind in zip(tokens, types) if kind == gguf.TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    return tokenizer


# Variants whose normalizer or pre-tokenizer moves, adds or drops characters, and a plain one.
OFFSET_VARIANTS = ["gpt2_prefix_space", "llama3", "qwen2", "llama2", "metaspace_first",
                   "metaspace_always", "unk_fused", "unk_single", "behaviors"]


def offsets_of(tokenizer, text):
    """[begin, end, begin, end, ...] in bytes of UTF-8; the library counts characters."""
    places = [0]
    for character in text:
        places.append(places[-1] + len(character.encode()))
    return [places[at] for span in tokenizer.encode(text).offsets for at in span]


def write_offsets():
    offsets = {}
    for name in OFFSET_VARIANTS:
        value = json.loads((FOLDER / f"{name}.json").read_text())
        value["post_processor"] = None  # it may trim spaces off offsets
        tokenizer = Tokenizer.from_str(json.dumps(value))
        offsets[name] = [offsets_of(tokenizer, text) for text in CORPUS]
    write_json("offsets.json", offsets)


def write_invalid_utf8():
    samples = [
        "61ff62", "c3", "c328", "c0af", "c1bf", "e28082", "e280", "e28041", "e0809f", "e09f80",
        "ed9fbf", "eda080", "edbfbf", "f09f9982", "f09f99", "f09f41", "f0808080", "f4908080",
        "f5808080", "f8888080", "80", "8080bf", "fe", "e2e282ac", "f0f09f9982", "c3c3a9", "efbfbd",
        "61c300ff", "20e2812020",
    ]
    write_json(
        "invalid_utf8.json",
        [{"hex": h, "text": bytes.fromhex(h).decode(errors="replace")} for h in samples],
    )


def write():
    for name, tokenizer, processor in variants():
        set_post_processor(tokenizer, processor)
        value = as_published(tokenizer, legacy_merges=name in ("gpt2", "smollm", "llama2"))
        write_json(f"{name}.json", value)
        write_json(f"{name}.expected.json", expect(Tokenizer.from_str(json.dumps(value))))
    write_json("smollm2.expected.json", expect(smollm2()))
    write_sentencepiece()
    write_offsets()
    write_invalid_utf8()


if __name__ == "__main__":
    write()
