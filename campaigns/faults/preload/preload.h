/*
 * A flash that fails on command, a clock that jumps and a name server that is gone, for one process.
 *
 * Preloaded (LD_PRELOAD) into the unchanged daemon. The calls by which it changes what is stored are numbered,
 * but only those for the state directory and what lies in it: the write points. At the chosen one
 *
 *   kill N          the process ends before the call is carried out. What was written stays: the kernel has it.
 *   power N SEED    the power goes before the call is carried out. Whatever was not made durable by then may be
 *                   lost: the data of a file since its last fsync or fdatasync, the names of a directory since
 *                   the directory's. An even SEED loses all of it. An odd one lets chance decide: any of the
 *                   writes may have reached the medium, in any order; of the changes of names, the first few,
 *                   because file systems keep those in order.
 *   torn N SEED     as `power` with an odd SEED, but just after the call, and a write reaches the medium in
 *                   sectors of 512 bytes, each of which may get lost (what a lost one should have filled is as
 *                   it was before, or zeros beyond the file's old end).
 *   EIO N, ENOSPC N, EROFS N [COUNT]
 *                   this call and the COUNT-1 after it fail (without COUNT: all of them), as long as the file
 *                   `healed` is not there. A full medium still renames, removes and syncs.
 *   unreadable N    from here on reading fails with EIO until `healed` is there; writing does not.
 *   short N [COUNT] this and the following writes write half of what they were given, and say so.
 *
 * Without a plan the points are only counted. Nothing is really synced: the kernel outlives the process, and
 * what a power cut would have destroyed is destroyed here, by hand.
 *
 * STORAGE_FAULTS_STATE    the state directory, absolute
 * STORAGE_FAULTS_CONTROL  a directory on the same file system. `points` is written there, one line for each
 *                         point: its number, the call, the file, the size, and where the plan hits, how. Looked
 *                         for there: `healed`; `clock`, seconds that the wall clock is ahead (negative: behind);
 *                         `no-dns`, while which no name is resolved.
 * STORAGE_FAULTS_PLAN     as above
 * STORAGE_FAULTS_REDIRECT FILE=OTHER: who opens FILE with fopen gets OTHER (a bundle of certificates)
 *
 * Calls that could change a file without being followed here (a mapping, writev, …) end the process with a
 * message rather than go unnoticed.
 */
#ifndef PRELOAD_H
#define PRELOAD_H

#define _GNU_SOURCE
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* The C library's own functions, whose names are taken here. */
extern int (*real_openat64)(int, const char *, int, ...);
extern ssize_t (*real_write)(int, const void *, size_t);
extern ssize_t (*real_pwrite64)(int, const void *, size_t, off64_t);
extern ssize_t (*real_read)(int, void *, size_t);
extern ssize_t (*real_pread64)(int, void *, size_t, off64_t);
extern int (*real_ftruncate64)(int, off64_t);
extern int (*real_renameat)(int, const char *, int, const char *);
extern int (*real_unlinkat)(int, const char *, int);
extern int (*real_mkdirat)(int, const char *, mode_t);
extern int (*real_fsync)(int);

/* -- plan.c: what is to happen, and when ---------------------------------------------------------------------- */

enum fault { NONE, KILL, POWER, TORN, FAIL_EIO, FAIL_ENOSPC, FAIL_EROFS, UNREADABLE, SHORT };
enum call { CREATE, WRITE, TRUNCATE, RENAME, REMOVE, SYNC };

extern char state[PATH_MAX], state_parent[PATH_MAX], control[PATH_MAX];
extern enum fault fault;

void say_and_end(const char *what, const char *about) __attribute__((noreturn));
uint64_t dice(void);
bool loses_all(void);
bool is_there(const char *in_control);

/* Whether the plan is in force: its point is behind us, its COUNT is not, and nobody has healed the medium. */
bool in_force(void);

/* A write point is reached: it is numbered and noted, and may be the process's last. Gives the errno with which
 * the call has to fail, or 0. Between this and `end_point` no other thread passes. */
int begin_point(enum call call, const char *name, const char *path, long long size);
void carried_out(void);
void end_point(void);

/* -- watched.c: which files ----------------------------------------------------------------------------------- */

bool watched(const char *path);
bool path_of(int fd, char path[PATH_MAX]);
bool watched_file(int fd, char path[PATH_MAX]);
bool watched_name(int dirfd, const char *name, char path[PATH_MAX]);

/* -- durability.c: what a power cut would take ----------------------------------------------------------------- */

void is_about_to_change(int fd, ino_t file);
void was_written(ino_t file, const void *data, size_t length, off64_t offset);
void was_truncated(ino_t file, off64_t length);
void was_created(const char *name);
void was_renamed(const char *before, const char *name, char *kept);
void was_removed(const char *name, char *kept);
void file_is_durable(ino_t file);
void names_are_durable(const char *directory);

/* A second name, in the control directory, for a file that is about to lose its own; NULL if there is none. */
char *keep(const char *path);

void lose_what_is_not_durable(bool all, bool torn);

#endif
