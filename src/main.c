/* main.c: the table of commands. */
#include <stdio.h>

int main(void)
{
    puts("a-io");
    return 0;
}
