/* The plan, the numbering of the write points, and what happens at the chosen one. */
#include "preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int (*real_openat64)(int, const char *, int, ...);
ssize_t (*real_write)(int, const void *, size_t);
ssize_t (*real_pwrite64)(int, const void *, size_t, off64_t);
ssize_t (*real_read)(int, void *, size_t);
ssize_t (*real_pread64)(int, void *, size_t, off64_t);
int (*real_ftruncate64)(int, off64_t);
int (*real_renameat)(int, const char *, int, const char *);
int (*real_unlinkat)(int, const char *, int);
int (*real_mkdirat)(int, const char *, mode_t);
int (*real_fsync)(int);

char state[PATH_MAX], state_parent[PATH_MAX], control[PATH_MAX];
enum fault fault;

static const char *const FAULTS[] = {"",       "kill",  "power",      "torn", "EIO",
				     "ENOSPC", "EROFS", "unreadable", "short"};
static long at, count = LONG_MAX, points;
static uint64_t chance;
static bool even_seed, hit;
static int points_file = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void say_and_end(const char *what, const char *about)
{
	dprintf(2, "preload: %s: %s\n", what, about);
	_exit(99);
}

/* splitmix64, which its author gave to the public domain: good enough to decide what a power cut destroys. */
uint64_t dice(void)
{
	uint64_t z = (chance += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static void read_plan(const char *plan)
{
	char name[16] = "";
	long third = -1;

	if (sscanf(plan, "%15s %ld %ld", name, &at, &third) < 2)
		say_and_end("not a plan", plan);
	for (fault = KILL; fault <= SHORT && strcmp(name, FAULTS[fault]); fault++)
		;
	if (fault > SHORT)
		say_and_end("not a fault", name);
	if (fault == POWER || fault == TORN) {
		chance = third;
		even_seed = !(third & 1);
	} else if (third > 0) {
		count = third;
	}
}

static void find(const char *name, void *where)
{
	*(void **)where = dlsym(RTLD_NEXT, name);
}

__attribute__((constructor)) static void begin(void)
{
	const char *given = getenv("STORAGE_FAULTS_STATE"), *where = getenv("STORAGE_FAULTS_CONTROL");
	const char *plan = getenv("STORAGE_FAULTS_PLAN");
	char path[PATH_MAX + 16];

	find("openat64", &real_openat64);
	find("write", &real_write);
	find("pwrite64", &real_pwrite64);
	find("read", &real_read);
	find("pread64", &real_pread64);
	find("ftruncate64", &real_ftruncate64);
	find("renameat", &real_renameat);
	find("unlinkat", &real_unlinkat);
	find("mkdirat", &real_mkdirat);
	find("fsync", &real_fsync);
	if (!given || *given != '/' || !where)
		say_and_end("needs", "STORAGE_FAULTS_STATE and STORAGE_FAULTS_CONTROL");
	snprintf(state, sizeof state, "%s", given);
	snprintf(state_parent, sizeof state_parent, "%s", given);
	*strrchr(state_parent, '/') = 0;
	snprintf(control, sizeof control, "%s", where);
	snprintf(path, sizeof path, "%s/points", control);
	points_file = real_openat64(AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (points_file < 0)
		say_and_end("no control directory", control);
	if (plan && *plan)
		read_plan(plan);
}

bool loses_all(void)
{
	return fault == POWER && even_seed;
}

bool is_there(const char *in_control)
{
	char path[PATH_MAX + 64];
	int before = errno;
	bool found;

	snprintf(path, sizeof path, "%s/%s", control, in_control);
	found = !access(path, F_OK);
	errno = before;
	return found;
}

bool in_force(void)
{
	return fault != NONE && points >= at && points - at < count && !is_there("healed");
}

static int failure_of(enum call call)
{
	switch (fault) {
	case FAIL_EIO:
		return EIO;
	case FAIL_ENOSPC:
		return call == CREATE || call == WRITE ? ENOSPC : 0;
	case FAIL_EROFS:
		return call == SYNC ? 0 : EROFS;
	default:
		return 0;
	}
}

static void end_here(void)
{
	if (fault != KILL)
		lose_what_is_not_durable(loses_all(), fault == TORN);
	kill(getpid(), SIGKILL);
	pause();
}

int begin_point(enum call call, const char *name, const char *path, long long size)
{
	const char *file = path + strlen(state);
	int failed;

	pthread_mutex_lock(&lock);
	points++;
	hit = in_force();
	failed = hit ? failure_of(call) : 0;
	dprintf(points_file, "%ld %s %s %lld %s\n", points, name, *file ? file + 1 : ".", size,
		hit ? FAULTS[fault] : "");
	if (hit && (fault == KILL || fault == POWER))
		end_here();
	return failed;
}

void carried_out(void)
{
	if (hit && fault == TORN)
		end_here();
}

void end_point(void)
{
	pthread_mutex_unlock(&lock);
}
