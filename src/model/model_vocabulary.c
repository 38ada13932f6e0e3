/* model_vocabulary.c: whether tokens of one model are those of another. */
#include <string.h>

#include "model/model.h"

error_code model_check_vocabulary(const model *large, const model *small, failure *fail)
{
    const tokenizer *a = large->tokenizer, *b = small->tokenizer;
    if (large->config.n_vocab != small->config.n_vocab)
        return failure_set(fail, ERR_CONFIG,
                           "a vocabulary of %zu tokens cannot draft for one of %zu",
                           small->config.n_vocab, large->config.n_vocab);
    for (size_t i = 0; i < tokenizer_size(a) && i < tokenizer_size(b); i++) {
        size_t la, lb;
        int32_t id = (int32_t)i;
        const char *ta = tokenizer_bytes(a, id, true, &la);
        const char *tb = tokenizer_bytes(b, id, true, &lb);
        if (la != lb || memcmp(ta, tb, la) != 0 ||
            tokenizer_is_control(a, id) != tokenizer_is_control(b, id))
            return failure_set(fail, ERR_CONFIG,
                               "the vocabularies differ at token %zu (\"%.*s\" and \"%.*s\"): a "
                               "draft would mean something else",
                               i, (int)(lb < 32 ? lb : 32), tb, (int)(la < 32 ? la : 32), ta);
    }
    return OK;
}
