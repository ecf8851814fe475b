/* What else a router cannot rely on: its wall clock, its name server, and which certificates are to be trusted. */
#include "preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* -- the wall clock; the monotonic one is right on any router ------------------------------------------------- */

static long seconds_ahead(void)
{
	char path[PATH_MAX + 16], text[32];
	int fd, before = errno;
	ssize_t length = 0;

	snprintf(path, sizeof path, "%s/clock", control);
	fd = *control ? real_openat64(AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd >= 0) {
		length = real_read(fd, text, sizeof text - 1);
		close(fd);
	}
	errno = before;
	if (length <= 0)
		return 0;
	text[length] = 0;
	return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static int (*real)(clockid_t, struct timespec *);
	int failed;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	failed = real(clock, now);
	if (!failed && clock == CLOCK_REALTIME)
		now->tv_sec += seconds_ahead();
	return failed;
}

int gettimeofday(struct timeval *now, void *zone)
{
	struct timespec exact;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &exact);
	now->tv_sec = exact.tv_sec;
	now->tv_usec = exact.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *now)
{
	struct timespec exact;

	clock_gettime(CLOCK_REALTIME, &exact);
	if (now)
		*now = exact.tv_sec;
	return exact.tv_sec;
}

/* -- names ---------------------------------------------------------------------------------------------------- */

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	if (*control && is_there("no-dns"))
		return EAI_AGAIN;
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	return real(host, service, hints, found);
}

/* -- certificates: OpenSSL opens its bundle with fopen -------------------------------------------------------- */

FILE *fopen64(const char *path, const char *mode)
{
	static FILE *(*real)(const char *, const char *);
	const char *rule = getenv("STORAGE_FAULTS_REDIRECT");
	size_t length = strlen(path);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "fopen64");
	if (rule && !strncmp(rule, path, length) && rule[length] == '=')
		path = rule + length + 1;
	return real(path, mode);
}

FILE *fopen(const char *path, const char *mode)
{
	return fopen64(path, mode);
}
