/* cppcheck.h: jansson's loops as loops, for cppcheck, which does not read the system's headers. */
#define json_array_foreach(list, i, item)                                                          \
    for (i = 0; (item = json_array_get(list, i)) != NULL; i++)
#define json_object_foreach(object, key, item)                                                     \
    for (void *at = json_object_iter(object);                                                      \
         (key = json_object_iter_key(at)) && (item = json_object_iter_value(at));                  \
         at = json_object_iter_next(object, at))
