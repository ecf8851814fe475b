/* Which files are the daemon's state, known by their paths: there is no table of descriptors to go wrong. */
#include "preload.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

bool watched(const char *path)
{
	size_t length = strlen(state);

	return length && !strncmp(path, state, length) && (!path[length] || path[length] == '/');
}

/* Of a file that was renamed or removed since it was opened, the kernel knows the new path. */
bool path_of(int fd, char path[PATH_MAX])
{
	char link[64];
	ssize_t length;
	int before = errno;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	length = readlink(link, path, PATH_MAX - 1);
	errno = before;
	if (length < 0)
		return false;
	path[length] = 0;
	return true;
}

bool watched_file(int fd, char path[PATH_MAX])
{
	return *state && path_of(fd, path) && watched(path);
}

/* A name as an …at() call has it. The daemon is given its state directory by its absolute path. */
bool watched_name(int dirfd, const char *name, char path[PATH_MAX])
{
	char directory[PATH_MAX];
	int length;

	if (!*state)
		return false;
	if (*name == '/')
		length = snprintf(path, PATH_MAX, "%s", name);
	else if (dirfd == AT_FDCWD || !path_of(dirfd, directory))
		return false;
	else
		length = snprintf(path, PATH_MAX, "%s/%s", directory, name);
	return length < PATH_MAX && watched(path);
}
