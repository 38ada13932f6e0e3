/*
 * embed.h: files that are in the program as they are. The assembler puts them there; the Makefile
 * names them as what the object depends on. Paths begin at the repository's root.
 *
 * EMBED(name, "src/…/file") declares name_begin and name_end, the file's first byte and the NUL
 * behind its last.
 */
#ifndef BASE_EMBED_H
#define BASE_EMBED_H

#define EMBED(symbol, file)                                                                        \
    __asm__(".pushsection .rodata\n"                                                               \
            ".global " #symbol "_begin\n" #symbol "_begin:\n"                                      \
            ".incbin \"" file "\"\n"                                                               \
            ".global " #symbol "_end\n" #symbol "_end:\n"                                          \
            ".byte 0\n.popsection\n");                                                             \
    extern const char symbol##_begin[], symbol##_end[]

#endif
