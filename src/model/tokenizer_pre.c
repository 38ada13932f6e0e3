/* tokenizer_pre.c: the names of tokenizer.ggml.pre, as data.
 *
 * The patterns are those of the models' own tokenizers (tokenizer.json, tiktoken), written so that
 * no text takes more than steps in proportion to its length. docs/tokenizers.md lists the names and
 * says where other engines split differently. */
#include "model/tokenizer_internal.h"

#include <string.h>

/* ---- parts of patterns ---- */

/* Unicode's White_Space. PCRE2's own \s differs from it (U+180E). */
#define SPACE                                                                                      \
    "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}"   \
    "\\x{3000}"
#define BLANK /* of these all but the two newlines */                                              \
    "\\x09\\x0b\\x0c\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"        \
    "\\x{205f}\\x{3000}"
#define LAST_SPACES "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"
#define NEWLINES "[" SPACE "]*[\\r\\n]+|"
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SYMBOLS " ?[^" SPACE "\\p{L}\\p{N}]+"
#define BEFORE_LETTERS "[^\\r\\n\\p{L}\\p{N}]?"

#define GPT_2_WORDS "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|" SYMBOLS "|" LAST_SPACES

/* Words as tiktoken's cl100k and all that came after it split them. */
#define WORDS(digits)                                                                              \
    CONTRACTIONS "|" BEFORE_LETTERS "\\p{L}+|" digits "|" SYMBOLS "[\\r\\n]*|" NEWLINES LAST_SPACES

/* Words as o200k splits them: where a small letter is followed by a capital one begins another. */
#define CAPITALS "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define SMALLS "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define CASED(capitals, smalls, after)                                                             \
    BEFORE_LETTERS "[" capitals "]*[" smalls "]+" after "|" BEFORE_LETTERS "[" capitals            \
                   "]+[" smalls "]*" after "|"
#define CASED_WORDS(after, digits)                                                                 \
    CASED(CAPITALS, SMALLS, after) digits "|" SYMBOLS "[\\r\\n/]*|" NEWLINES LAST_SPACES

/* The same letters without Chinese characters: PCRE2 10.42 cannot intersect classes, so these say
 * what is not in them. */
#define NO_HAN "\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}\\p{sc:Han}"
#define CAPITALS_NO_HAN "^\\p{Ll}" NO_HAN
#define SMALLS_NO_HAN "^\\p{Lu}\\p{Lt}" NO_HAN

#define ASCII_PUNCTUATION "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]"
#define MARKED_LETTERS                                                                             \
    ASCII_PUNCTUATION "[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"

#define CHINESE "[\\x{4e00}-\\x{9fa5}\\x{0800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"
#define CHINESE_JAPANESE "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+"

/* Letters of the scripts that have capitals, as DeepSeek lists them. */
#define CASED_SCRIPTS                                                                              \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}"                 \
    "\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}"         \
    "\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}" \
    "\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}"  \
    "\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}"                 \
    "\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}"                 \
    "\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}"         \
    "\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}"        \
    "\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}"                 \
    "\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}"         \
    "\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{"     \
    "213f}"                                                                                        \
    "\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}"         \
    "\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{"    \
    "a76f}"                                                                                        \
    "\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}"                 \
    "\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}"               \
    "\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}"         \
    "\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"

/* ---- rules ---- */

static const split_rule gpt_2 = {.patterns = {GPT_2_WORDS}};
static const split_rule digits_gpt_2 = {.patterns = {"\\p{N}", GPT_2_WORDS}};
static const split_rule default_rule = {
    .patterns = {"[\\p{P}$+<=>^~|]+", GPT_2_WORDS, "\\p{N}+", "[0-9][0-9][0-9]"}};
static const split_rule falcon = {
    .patterns = {"[\\p{P}$+<=>^~|`]+", GPT_2_WORDS, "[0-9][0-9][0-9]"}};
static const split_rule llama_3 = {.patterns = {WORDS("\\p{N}{1,3}")}};
static const split_rule qwen_2 = {.patterns = {WORDS("\\p{N}")}};
static const split_rule qwen_35 = {
    .patterns = {CONTRACTIONS "|" BEFORE_LETTERS "[\\p{L}\\p{M}]+|\\p{N}| ?[^" SPACE
                              "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" NEWLINES LAST_SPACES}};
/* Llama 3's words; then white space without newlines is cut into powers of two. In one pattern, as
 * the model's file has it, each of many cuts would look for a newline in all that follows. */
static const split_rule jais_2 = {.patterns = {WORDS("\\p{N}{1,3}"),
                                               "\\A[" SPACE "]*[\\r\\n]+|[" BLANK "]{512}|[" BLANK
                                               "]{256}|[" BLANK "]{128}|[" BLANK "]{64}|[" BLANK
                                               "]{32}|[" BLANK "]{16}|[" BLANK "]{8}|[" BLANK
                                               "]{4}|[" BLANK "]{2}"}};
static const split_rule deepseek_llm = {
    .patterns = {"[\\r\\n]", "[" SPACE "]?[" CASED_SCRIPTS "]+",
                 "[" SPACE "]?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}"
                 "\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+",
                 "(?<![" SPACE "])[" SPACE "]++\\z", CHINESE, "\\p{N}+"}};
static const split_rule deepseek_coder = {
    .patterns = {"[\\r\\n]", "[" SPACE "]?\\p{L}+", "[" SPACE "]?\\p{P}+", CHINESE, "\\p{N}"}};
static const split_rule deepseek_v3 = {.patterns = {"\\p{N}{1,3}", CHINESE_JAPANESE,
                                                    MARKED_LETTERS
                                                    "[\\r\\n]*|" NEWLINES LAST_SPACES}};
static const split_rule spark = {.patterns = {"\\p{N}{1,3}", CHINESE_JAPANESE,
                                              MARKED_LETTERS "|[\\r\\n]|" LAST_SPACES, "\\p{N}"}};
static const split_rule afmoe = {
    .patterns = {"\\p{N}+",
                 "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}\\x{3040}-\\x{309f}"
                 "\\x{30a0}-\\x{30ff}\\x{ff65}-\\x{ff9f}\\x{2f00}-\\x{2fdf}\\x{0e40}-\\x{0eff}"
                 "\\x{1780}-\\x{17ff}\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}\\x{a9e0}-\\x{a9ff}"
                 "\\x{ac00}-\\x{d7af}\\x{1100}-\\x{11ff}]+",
                 MARKED_LETTERS "[\\r\\n]*|" NEWLINES LAST_SPACES},
    .threes = 1u << 0};
static const split_rule youtu = {
    .patterns = {"[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}"
                 "\\x{2018}\\x{2019}\\x{2014}\\x{ff1a}\\x{ff1b}\\x{ff0c}\\x{3001}-\\x{303f}"
                 "\\x{fe30}-\\x{fe4f}]+|[\\x{3105}-\\x{312f}]+|" CHINESE_JAPANESE,
                 CASED_WORDS(CONTRACTIONS "?", "\\p{N}")}};
static const split_rule bloom = {
    .patterns = {" ?[^(" SPACE "|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{0964}\\x{06d4}"
                 "\\x{060c})]+"}};
static const split_rule viking = {
    .patterns = {" ?[^(" SPACE "|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{0964}\\x{06d4}"
                 "\\x{060c})]+",
                 "\\p{N}"}};
static const split_rule tekken = {.patterns = {CASED_WORDS("", "\\p{N}")}};
static const split_rule gpt_4o = {.patterns = {CASED_WORDS(CONTRACTIONS "?", "\\p{N}{1,3}")}};
/* Digits in threes from the right, where the number ends a word; the lookbehind begins at the
 * number's first digit only, so that its end is looked for once. */
static const split_rule tiny_aya = {
    .patterns = {"(?<!\\p{Nd})\\p{Nd}++(?![\\p{L}\\p{M}\\p{Nl}\\p{Pc}])",
                 CASED_WORDS(CONTRACTIONS "?", "\\p{N}{1,3}")},
    .threes = 1u << 0};
static const split_rule kimi_k2 = {
    .patterns = {"\\p{sc:Han}+|" CASED(CAPITALS_NO_HAN, SMALLS_NO_HAN,
                                       CONTRACTIONS "?") "\\p{N}{1,3}|" SYMBOLS
                                                         "[\\r\\n]*|" NEWLINES LAST_SPACES}};
static const split_rule superbpe = {.patterns = {"\\p{N}+", "\\p{Nd}{4,}"}, .threes = 1u << 1};
static const split_rule seed_coder = {.patterns = {CONTRACTIONS "|" BEFORE_LETTERS
                                                                "\\p{L}+|\\p{N}|" SYMBOLS
                                                                "|" NEWLINES LAST_SPACES}};
static const split_rule ufakzeka = {
    .patterns = {BEFORE_LETTERS "\\p{L}+|\\p{N}|" SYMBOLS "[\\r\\n]*|" NEWLINES LAST_SPACES}};
static const split_rule laguna = {.patterns = {"\\n+", WORDS("\\p{N}")}};
static const split_rule minicpm_5 = {.patterns = {"\\p{N}{1,3}", WORDS("\\p{N}+")}};
static const split_rule exaone_moe = {
    .patterns = {CONTRACTIONS "|" BEFORE_LETTERS
                              "\\p{L}\\p{M}*+(?: ?\\p{L}\\p{M}*+)*+|\\p{N}|" SYMBOLS
                              "[\\r\\n/]?|" NEWLINES LAST_SPACES}};
static const split_rule chameleon = {.patterns = {"<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z",
                                                  "[\\t\\n]|    |  ", "\\p{N}",
                                                  "[\\p{P}!-/:-@\\[-`{-~]", GPT_2_WORDS}};
static const split_rule newlines = {.patterns = {"\\n+"}};

/* ---- names ---- */

#define LLAMA_3_FLAGS (PRE_IGNORES_MERGES | PRE_ADDS_BOS)

static const pre_type pre_types[] = {
    {"default", &default_rule, 0}, /* also when the file names none */
    {"a.x-4.0", &gpt_2, 0},
    {"afmoe", &afmoe, 0},
    {"bailingmoe", &qwen_2, 0},
    {"bailingmoe2", &qwen_2, 0},
    {"bloom", &bloom, 0},
    {"chameleon", &chameleon, PRE_ADDS_BOS},
    {"chatglm-bpe", &llama_3, 0},
    {"chatglm4", &llama_3, 0},
    {"codeshell", &digits_gpt_2, 0},
    {"cohere2moe", &tiny_aya, 0},
    {"command-r", &digits_gpt_2, 0},
    {"dbrx", &llama_3, 0},
    {"deepseek-coder", &deepseek_coder, 0},
    {"deepseek-llm", &deepseek_llm, 0},
    {"deepseek-r1-qwen", &qwen_2, 0},
    {"deepseek-v3", &deepseek_v3, 0},
    {"exaone", &digits_gpt_2, 0},
    {"exaone-moe", &exaone_moe, 0},
    {"exaone4", &gpt_2, 0},
    {"f2llmv2", &qwen_2, 0},
    {"falcon", &falcon, 0},
    {"falcon-h1", &llama_3, LLAMA_3_FLAGS},
    {"falcon3", &llama_3, LLAMA_3_FLAGS},
    {"gemma4", &newlines, PRE_TEXT | PRE_WHOLE_NEWLINES | PRE_FORCES_BOS},
    {"gigachat", &gpt_2, 0},
    {"glm4", &llama_3, PRE_IGNORES_MERGES},
    {"glm5", &llama_3, PRE_IGNORES_MERGES},
    {"gpt-2", &gpt_2, 0},
    {"gpt-4o", &gpt_4o, 0},
    {"gpt3-finnish", &bloom, 0},
    {"granite-docling", &gpt_2, 0},
    {"granite-embed-multi-311m", &newlines, PRE_TEXT | PRE_WHOLE_NEWLINES | PRE_FORCES_BOS},
    {"granite-embed-multi-97m", &gpt_4o, PRE_IGNORES_MERGES},
    {"grok-2", &qwen_2, 0},
    {"hunyuan", &qwen_2, 0},
    {"hunyuan-dense", &deepseek_v3, 0},
    {"hy_v4", &deepseek_v3, 0},
    {"jais", &gpt_2, 0},
    {"jais-2", &jais_2, 0},
    {"jina-de", &gpt_2, 0},
    {"jina-es", &gpt_2, 0},
    {"jina-v1-en", &gpt_2, 0},
    {"jina-v2-code", &gpt_2, 0},
    {"jina-v2-de", &gpt_2, 0},
    {"jina-v2-es", &gpt_2, 0},
    {"jina-v5-nano", &llama_3, LLAMA_3_FLAGS},
    {"joyai-llm", &deepseek_v3, 0},
    {"kanana2", &gpt_4o, 0},
    {"kimi-k2", &kimi_k2, 0},
    {"kormo", &qwen_2, 0},
    {"laguna", &laguna, 0},
    {"lfm2", &llama_3, LLAMA_3_FLAGS},
    {"llada-moe", &qwen_2, 0},
    {"llama-bpe", &llama_3, LLAMA_3_FLAGS},
    {"llama-v3", &llama_3, LLAMA_3_FLAGS},
    {"llama3", &llama_3, LLAMA_3_FLAGS},
    {"llama4", &gpt_4o, 0},
    {"megrez", &qwen_2, 0},
    {"mellum", &gpt_2, 0},
    {"mellum2", &digits_gpt_2, 0},
    {"midm-2.0", &llama_3, LLAMA_3_FLAGS},
    {"minerva-7b", &digits_gpt_2, 0},
    {"minicpm5", &minicpm_5, PRE_IGNORES_MERGES},
    {"minimax-m2", &gpt_4o, 0},
    {"modern-bert", &gpt_2, 0},
    {"mpt", &gpt_2, 0},
    {"olmo", &gpt_2, 0},
    {"phi-2", &gpt_2, 0},
    {"pixtral", &llama_3, LLAMA_3_FLAGS},
    {"poro-chat", &bloom, 0},
    {"qwen2", &qwen_2, 0},
    {"qwen35", &qwen_35, 0},
    {"refact", &digits_gpt_2, 0},
    {"roberta-bpe", &gpt_2, 0},
    {"sarvam-moe", &newlines, PRE_TEXT},
    {"seed-coder", &seed_coder, 0},
    {"smaug-bpe", &llama_3, 0},
    {"smollm", &digits_gpt_2, 0},
    {"solar-open", &qwen_2, 0},
    {"spark2_5", &spark, 0},
    {"stablelm2", &qwen_2, 0},
    {"starcoder", &digits_gpt_2, 0},
    {"superbpe", &superbpe, 0},
    {"talkie", &gpt_4o, 0},
    {"tekken", &tekken, LLAMA_3_FLAGS},
    {"tiny_aya", &tiny_aya, 0},
    {"trillion", &gpt_2, 0},
    {"ufakzeka", &ufakzeka, 0},
    {"viking", &viking, 0},
    {"youtu", &youtu, PRE_IGNORES_MERGES},
};

#define N_PRE_TYPES (sizeof pre_types / sizeof *pre_types)

const pre_type *pre_type_at(size_t index)
{
    return index < N_PRE_TYPES ? &pre_types[index] : NULL;
}

const pre_type *pre_type_find(gguf_string name)
{
    for (size_t i = 0; i < N_PRE_TYPES; i++)
        if (strlen(pre_types[i].name) == name.length &&
            memcmp(pre_types[i].name, name.data, name.length) == 0)
            return &pre_types[i];
    return NULL;
}
