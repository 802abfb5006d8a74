/* hello greets, and shows all that a program can be given: arguments, standard input, files, an exit code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int copy(FILE *in) {
    char buf[65536];
    size_t n;
    while ((n = fread(buf, 1, sizeof buf, in)) > 0)
        if (fwrite(buf, 1, n, stdout) != n)
            return 1;
    return ferror(in) || fflush(stdout) ? 1 : 0;
}

static int cat(const char *path) {
    FILE *in = fopen(path, "rb");
    if (!in) {
        perror(path);
        return 1;
    }
    int code = copy(in);
    fclose(in);
    return code;
}

static int leave(const char *number) {
    char *end;
    long n = strtol(number, &end, 10);
    if (end == number || *end || n < 0 || n > 127) {
        fprintf(stderr, "hello: exit \"%s\": want a number from 0 to 127\n", number);
        return 2;
    }
    return (int)n;
}

int main(int argc, char **argv) {
    if (argc >= 2 && !strcmp(argv[1], "copy"))
        return copy(stdin);
    if (argc == 3 && !strcmp(argv[1], "cat"))
        return cat(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "exit"))
        return leave(argv[2]);
    fputs("hello,", stdout);
    for (int i = 1; i < argc; i++)
        printf(" %s", argv[i]);
    puts(argc < 2 ? " world" : "");
    return 0;
}
