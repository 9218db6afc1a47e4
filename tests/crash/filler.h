/*
 * filler: a file that takes all the room on a small disk.
 *
 * Owns      the file.
 * Thread    the driver's.
 * Errors    a file that can't be made ends the program with 2: that is no disk to test with.
 */
#ifndef TESTS_CRASH_FILLER_H
#define TESTS_CRASH_FILLER_H

struct filler {
    char path[4200];
    int fd; /* -1: there is none */
};

void filler_init(struct filler *filler, const char *dir);

/* Takes what room there is. */
void filler_fill(struct filler *filler);

/* Gives all of it back. */
void filler_free(struct filler *filler);

#endif
