/* version.h: what this program is made of. */
#ifndef CLI_VERSION_H
#define CLI_VERSION_H

/* Prints the version, the commit ("": not known), the compiler, the kernels that this machine runs,
 * and the libraries as they were found. */
void version_print(const char *version, const char *commit);

#endif
