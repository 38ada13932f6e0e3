/* version.c: `a-io --version`. */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "cli/version.h"

#include <curl/curl.h>
#include <cyaml/cyaml.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <pcre2.h>
#include <stdio.h>
#include <yaml.h>

#include "kernel/kernel.h"

#if defined(__clang__) /* which names itself */
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif

#if defined(__x86_64__)
#define PROCESSOR "x86-64"
#elif defined(__aarch64__)
#define PROCESSOR "aarch64"
#else
#define PROCESSOR "another processor"
#endif

void version_print(const char *version, const char *commit)
{
    char pcre2[64] = ""; /* "10.42 2022-12-11" */
    pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
    printf("a-io %s%s%s\n", version, commit[0] != '\0' ? ", commit " : "", commit);
    puts("compiler: " COMPILER ", for " PROCESSOR);
    printf("kernels:");
    for (const char *const *name = kernel_names(); *name != NULL; name++)
        printf(" %s", *name);
    printf("\nlibraries: libcurl %s, OpenSSL %s, jansson %s, libyaml %s, libcyaml %s, PCRE2 %s\n",
           curl_version_info(CURLVERSION_NOW)->version, OpenSSL_version(OPENSSL_VERSION_STRING),
           jansson_version_str(), yaml_get_version_string(), cyaml_version_str, pcre2);
}
