/* What examples/tiny does, as a native program: prints its argument and nothing else. */
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
	return argc == 2 && write(1, argv[1], strlen(argv[1])) > 0 ? 0 : 1;
}
