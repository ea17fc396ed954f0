"""Where running text may be broken: what it costs a reader when a caption or a line ends between two words.

The order of preference is the one of the broadcasters' guides (Netflix, BBC): after a sentence, after a clause, before
a conjunction; never between an article or preposition and what it belongs to.
"""

from __future__ import annotations

import unicodedata

AFTER_SENTENCE = 0.0
AFTER_CLAUSE = 5.0
BEFORE_CONJUNCTION = 9.0
BETWEEN_WORDS = 24.0
AFTER_BOUND_WORD = 44.0
"""After an article, preposition, conjunction, title or initial: the next word is missing."""
INSIDE_WORD = 1000.0
"""Where only lack of room is a reason."""

_SENTENCE_MARKS = frozenset(".!?。！？؟۔।॥։።။។‽⸮")
_CLAUSE_MARKS = frozenset(",;:，、；：،؛—–")
_CLOSERS = "\"'”’»›)]}」』）】》〉〕］｝"
_OPENERS = "\"'“„«‹([{「『（【《〈〔［｛¿¡"
_NEVER_FIRST = frozenset(
    "、。，．・：；？！゛゜ヽヾゝゞ々ー）］｝」』】》〉〕〟’”»ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ…‥％%!?,.;:)]}"
)
"""Characters that never begin a line where text runs without spaces (Japanese kinsoku, the same marks in Chinese)."""
_NEVER_LAST = frozenset("（［｛「『【《〈〔“‘«([{$£¥￥")
_UNSPACED_SCRIPTS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x312F),  # CJK radicals and punctuation, kana, bopomofo
    (0x31A0, 0xA4CF),  # more kana, Han, Yi
    (0xF900, 0xFAFF),  # Han
    (0xFE30, 0xFFEF),  # CJK forms
    (0x1B000, 0x1B16F),  # more kana
    (0x20000, 0x3FFFF),  # Han
)

_CONJUNCTIONS = {
    "en": "and or but nor so because although though if when while that which who where since unless until than "
    "whether",
    "de": "und oder aber denn sondern weil dass wenn als ob obwohl während damit sowie falls bevor nachdem sobald",
    "fr": "et ou mais donc or ni car que qui quand lorsque puisque si parce comme dont où quoique",
    "es": "y e o u pero sino porque que si cuando aunque mientras como donde pues quien",
    "it": "e ed o ma però perché che se quando mentre anche dove come poiché quindi chi",
    "pt": "e ou mas porque que se quando embora enquanto como onde pois porém quem",
    "ru": "и или но а что чтобы если когда потому хотя пока где как который которая которые либо",
    "nl": "en of maar want omdat dat als toen terwijl hoewel zodat die wanneer voordat nadat",
}
_BOUND_WORDS = {
    "en": "a an the my your his her its our their this these those of to in on at by for with from into about "
    "over under between through as is are was were be been very no not i we you they he she mr mrs ms dr prof "
    "st vs",
    "de": "der die das den dem des ein eine einen einem einer eines mein dein sein ihr unser kein keine in im "
    "an am auf aus bei beim mit nach von vom zu zum zur für über unter vor durch gegen ohne um sehr nicht "
    "ich wir dr prof hr fr",
    "fr": "le la les un une des du de au aux mon ma mes ton ta tes son sa ses notre nos votre vos leur leurs ce "
    "cet cette ces à dans en sur sous par pour avec sans chez vers entre très ne je tu il elle on nous "
    "vous ils elles m mme dr",
    "es": "el la los las un una unos unas de del al a en con por para sin sobre entre hacia desde mi mis tu tus "
    "su sus este esta estos estas muy no se me te lo le sr sra dr",
    "it": "il lo la i gli le un uno una di del dello della dei degli delle a al allo alla ai agli alle da dal "
    "dalla in nel nella con su sul sulla per tra fra mio tuo suo molto non si mi ti sig dott",
    "pt": "o a os as um uma uns umas de do da dos das em no na nos nas por pelo pela para com sem sobre entre "
    "meu minha seu sua muito não se me te lhe sr sra dr",
    "ru": "в во на с со к ко о об от до из у по за над под при без для не ни мой моя моё твой его её их этот "
    "эта это эти",
    "nl": "de het een mijn jouw je zijn haar ons onze hun dit deze van in op aan bij met naar voor door over "
    "uit om te tot tegen onder tussen zonder heel niet ik we wij ze hij dr mr mevr",
}
_NEVER_BEFORE = {
    "ja": "は が を に へ と で も の や か ね よ な ば から まで より て た だ です ます ました ない ています",
    "zh": "的 了 吗 吧 呢 啊 着 过 们 地 得 呀",
    "yue": "嘅 咗 呀 啦 喎 囉 嘢 緊 過 哋 㗎 呢",
}
_ABBREVIATIONS = frozenset(
    {"mr", "mrs", "ms", "dr", "prof", "st", "vs", "etc", "e.g", "i.e", "a.m", "p.m", "u.s", "z.b", "d.h", "bzw", "ca"}
    | {"nr", "sr", "sra", "mme", "hr", "fr", "dott", "sig", "mevr"}
)


class Phrasing:
    """The breaking rules of one language; languages without lists of their own get punctuation and spacing only."""

    def __init__(self, language: str) -> None:
        self._conjunctions = frozenset(_CONJUNCTIONS.get(language, "").split())
        self._bound = frozenset(_BOUND_WORDS.get(language, "").split()) | self._conjunctions
        self._never_before = frozenset(_NEVER_BEFORE.get(language, "").split())

    def break_cost(self, before: str, after: str, *, spaced: bool) -> float:
        """Return the cost of a break between the words ``before`` and ``after``; ``spaced`` when a space parts them."""
        if not spaced and not _may_part(before, after):
            return INSIDE_WORD
        cost = self._cost_of_ending(before)
        if cost <= AFTER_CLAUSE:
            return cost
        if bare_word(after) in self._conjunctions:
            return min(cost, BEFORE_CONJUNCTION)
        if after.rstrip("、。，？！") in self._never_before:
            return AFTER_BOUND_WORD
        if after[0] in _OPENERS:
            return min(cost, BEFORE_CONJUNCTION)
        return cost

    def _cost_of_ending(self, word: str) -> float:
        if ends_sentence(word):
            return AFTER_SENTENCE
        core = word.rstrip(_CLOSERS) or word
        if core[-1] in _CLAUSE_MARKS or core.endswith(("...", "…")):
            return AFTER_CLAUSE
        bare = bare_word(core)
        if bare in self._bound or bare in _ABBREVIATIONS or (core[-1] == "." and len(bare) == 1):
            return AFTER_BOUND_WORD
        return BETWEEN_WORDS


def bare_word(word: str) -> str:
    """Return ``word`` in lower case without the punctuation around it."""
    return word.casefold().strip(".,;:!?…\"'“”„«»‹›()[]{}¿¡-–—")


def ends_sentence(word: str) -> bool:
    """Say whether a sentence ends with ``word``; abbreviations, initials and trailing dots do not end one."""
    core = word.rstrip(_CLOSERS)
    if not core or core[-1] not in _SENTENCE_MARKS or core.endswith(("...", "…")):
        return False
    if core[-1] != ".":
        return True
    bare = bare_word(core)
    # "J." is an initial, "3." an ordinal in half of Europe; "I." and "a." do end sentences but never matter.
    return (
        bare not in _ABBREVIATIONS
        and not (len(bare) == 1 and bare.isalpha())
        and not (len(bare) <= 2 and bare.isdecimal())
    )


def is_punctuation(text: str) -> bool:
    """Say whether ``text`` holds nothing that is spoken."""
    return all(unicodedata.category(char)[0] in "PZC" for char in text)


def is_opening(text: str) -> bool:
    """Say whether punctuation belongs to the word that follows it."""
    return text.strip()[-1:] in _OPENERS and text.strip()[-1:] not in "\"'"


def _may_part(before: str, after: str) -> bool:
    """Say whether text without a space may be parted here: in scripts that use none, or behind a hyphen or slash."""
    last, first = before[-1], after[0]
    if last in _NEVER_LAST or first in _NEVER_FIRST or unicodedata.combining(first):
        return False
    if last in "-/—–":
        return True
    return is_unspaced(last) or is_unspaced(first)


def is_unspaced(char: str) -> bool:
    """Say whether ``char`` belongs to a script that is written without spaces between words."""
    code = ord(char)
    return code >= 0x0E00 and any(low <= code <= high for low, high in _UNSPACED_SCRIPTS)


def may_tear(before: str, after: str) -> bool:
    """Say whether an overlong run may be torn between two of its characters without offending the eye.

    In scripts without spaces everywhere but before closing and after opening marks; else after a space, slash, hyphen
    or dot, as in addresses.
    """
    if before in " /-_.?&=—–" and after not in " /-_.?&=":
        return True
    return _may_part(before, after)
