/* place.c: where in the file a value stands, for messages about what the schema alone cannot see.
 */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "config/schema.h"

/* The value of a mapping's key, or NULL; *line becomes the key's. */
static yaml_node_t *member(yaml_document_t *d, const yaml_node_t *node, const char *key,
                           size_t length, int *line)
{
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
         p++) {
        const yaml_node_t *k = yaml_document_get_node(d, p->key);
        if (k != NULL && k->type == YAML_SCALAR_NODE && k->data.scalar.length == length &&
            memcmp(k->data.scalar.value, key, length) == 0) {
            *line = (int)k->start_mark.line + 1;
            return yaml_document_get_node(d, p->value);
        }
    }
    return NULL;
}

static yaml_node_t *element(yaml_document_t *d, const yaml_node_t *node, size_t index, int *line)
{
    size_t n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    yaml_node_t *item =
        index < n ? yaml_document_get_node(d, node->data.sequence.items.start[index]) : NULL;
    if (item != NULL)
        *line = (int)item->start_mark.line + 1;
    return item;
}

static int follow(yaml_document_t *d, const char *path)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_";
    int line = 0;
    const yaml_node_t *node = yaml_document_get_root_node(d);
    while (node != NULL) {
        size_t length = strspn(path, letters);
        if (length > 0 && node->type == YAML_MAPPING_NODE) {
            node = member(d, node, path, length, &line);
            path += length;
        } else if (path[0] == '[' && node->type == YAML_SEQUENCE_NODE) {
            char *end = NULL;
            node = element(d, node, strtoul(path + 1, &end, 10), &line);
            path = *end == ']' ? end + 1 : end;
        } else {
            break;
        }
        path += path[0] == '.';
    }
    return line;
}

int file_config_line(const char *text, size_t length, const char *path)
{
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser))
        return 0;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    int line = 0;
    if (yaml_parser_load(&parser, &document)) {
        line = follow(&document, path);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return line;
}
