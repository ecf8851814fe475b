/* The calls by which a file or a name is changed, as Python and SQLite make them (found with strace and nm). */
#include "preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int failing(int failed)
{
	end_point();
	errno = failed;
	return -1;
}

static bool exists(const char *path)
{
	int before = errno;
	bool found = !faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW);

	errno = before;
	return found;
}

/* -- opening -------------------------------------------------------------------------------------------------- */

static int opened(int dirfd, const char *name, int flags, mode_t mode)
{
	char path[PATH_MAX];
	int fd, failed;

	if ((flags & O_ACCMODE) == O_RDONLY || !watched_name(dirfd, name, path))
		return real_openat64(dirfd, name, flags, mode);
	if (exists(path)) { /* changes nothing by itself: no point */
		if (flags & O_TRUNC)
			say_and_end("opening to truncate is not followed", path);
		if (fault == FAIL_EROFS && in_force()) {
			errno = EROFS;
			return -1;
		}
		return real_openat64(dirfd, name, flags, mode);
	}
	if (!(flags & O_CREAT))
		return real_openat64(dirfd, name, flags, mode);
	failed = begin_point(CREATE, "create", path, 0);
	if (failed)
		return failing(failed);
	fd = real_openat64(dirfd, name, flags, mode);
	if (fd >= 0) {
		was_created(path);
		carried_out();
	}
	end_point();
	return fd;
}

#define MODE(flags)                                                                                                    \
	mode_t mode = 0;                                                                                               \
	va_list rest;                                                                                                  \
                                                                                                                       \
	va_start(rest, flags);                                                                                         \
	if (flags & (O_CREAT | O_TMPFILE))                                                                             \
		mode = va_arg(rest, mode_t);                                                                           \
	va_end(rest)

int open(const char *path, int flags, ...)
{
	MODE(flags);
	return opened(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	MODE(flags);
	return opened(AT_FDCWD, path, flags, mode);
}

int openat(int dirfd, const char *path, int flags, ...)
{
	MODE(flags);
	return opened(dirfd, path, flags, mode);
}

int openat64(int dirfd, const char *path, int flags, ...)
{
	MODE(flags);
	return opened(dirfd, path, flags, mode);
}

/* -- data ----------------------------------------------------------------------------------------------------- */

static ssize_t written(int fd, const char *call, const char *path, const void *data, size_t length, off64_t offset)
{
	struct stat found;
	ssize_t done;
	int failed = begin_point(WRITE, call, path, length);

	if (failed)
		return failing(failed);
	if (fault == SHORT && in_force() && length > 1)
		length /= 2;
	fstat(fd, &found);
	is_about_to_change(fd, found.st_ino);
	done = real_pwrite64(fd, data, length, offset);
	if (done > 0) {
		was_written(found.st_ino, data, done, offset);
		carried_out();
	}
	end_point();
	return done;
}

ssize_t write(int fd, const void *data, size_t length)
{
	char path[PATH_MAX];
	off64_t offset;
	ssize_t done;

	if (!watched_file(fd, path))
		return real_write(fd, data, length);
	if (fcntl(fd, F_GETFL) & O_APPEND)
		say_and_end("appending is not followed", path);
	offset = lseek64(fd, 0, SEEK_CUR);
	done = written(fd, "write", path, data, length, offset);
	if (done > 0)
		lseek64(fd, offset + done, SEEK_SET);
	return done;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
	char path[PATH_MAX];

	return watched_file(fd, path) ? written(fd, "pwrite", path, data, length, offset)
				      : real_pwrite64(fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
	return pwrite64(fd, data, length, offset);
}

int ftruncate64(int fd, off64_t length)
{
	char path[PATH_MAX];
	struct stat found;
	int failed, done;

	if (!watched_file(fd, path))
		return real_ftruncate64(fd, length);
	failed = begin_point(TRUNCATE, "truncate", path, length);
	if (failed)
		return failing(failed);
	fstat(fd, &found);
	is_about_to_change(fd, found.st_ino);
	done = real_ftruncate64(fd, length);
	if (!done) {
		was_truncated(found.st_ino, length);
		carried_out();
	}
	end_point();
	return done;
}

int ftruncate(int fd, off_t length)
{
	return ftruncate64(fd, length);
}

static int synced(int fd, const char *call)
{
	char path[PATH_MAX];
	struct stat found;
	int failed = 0;

	if (!*state || !path_of(fd, path) || (!watched(path) && strcmp(path, state_parent)))
		return real_fsync(fd);
	fstat(fd, &found);
	if (!watched(path)) { /* the directory above: all that counts is that ours is in it */
		names_are_durable(path);
		return 0;
	}
	failed = begin_point(SYNC, call, path, 0);
	if (failed)
		return failing(failed);
	if (S_ISDIR(found.st_mode))
		names_are_durable(path);
	else
		file_is_durable(found.st_ino);
	carried_out();
	end_point();
	return 0;
}

int fsync(int fd)
{
	return synced(fd, "fsync");
}

int fdatasync(int fd)
{
	return synced(fd, "fdatasync");
}

static bool is_unreadable(int fd)
{
	char path[PATH_MAX];

	return fault == UNREADABLE && watched_file(fd, path) && in_force();
}

ssize_t read(int fd, void *data, size_t length)
{
	if (!is_unreadable(fd))
		return real_read(fd, data, length);
	errno = EIO;
	return -1;
}

ssize_t pread64(int fd, void *data, size_t length, off64_t offset)
{
	if (!is_unreadable(fd))
		return real_pread64(fd, data, length, offset);
	errno = EIO;
	return -1;
}

/* -- names ---------------------------------------------------------------------------------------------------- */

int renameat(int fromfd, const char *from, int tofd, const char *to)
{
	char source[PATH_MAX], target[PATH_MAX], *kept;
	int failed, done;

	if (!watched_name(fromfd, from, source))
		return real_renameat(fromfd, from, tofd, to);
	if (!watched_name(tofd, to, target))
		say_and_end("renaming to outside is not followed", to);
	failed = begin_point(RENAME, "rename", target, 0);
	if (failed)
		return failing(failed);
	kept = keep(target);
	done = real_renameat(fromfd, from, tofd, to);
	if (!done) {
		was_renamed(source, target, kept);
		carried_out();
	}
	end_point();
	return done;
}

int rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int dirfd, const char *name, int flags)
{
	char path[PATH_MAX], *kept;
	int failed, done;

	if (!watched_name(dirfd, name, path) || !exists(path))
		return real_unlinkat(dirfd, name, flags);
	failed = begin_point(REMOVE, "unlink", path, 0);
	if (failed)
		return failing(failed);
	kept = keep(path);
	done = real_unlinkat(dirfd, name, flags);
	if (!done) {
		was_removed(path, kept);
		carried_out();
	}
	end_point();
	return done;
}

int unlink(const char *name)
{
	return unlinkat(AT_FDCWD, name, 0);
}

int mkdirat(int dirfd, const char *name, mode_t mode)
{
	char path[PATH_MAX];
	int failed, done;

	if (!watched_name(dirfd, name, path) || exists(path))
		return real_mkdirat(dirfd, name, mode);
	failed = begin_point(CREATE, "mkdir", path, 0);
	if (failed)
		return failing(failed);
	done = real_mkdirat(dirfd, name, mode);
	if (!done) {
		was_created(path);
		carried_out();
	}
	end_point();
	return done;
}

int mkdir(const char *name, mode_t mode)
{
	return mkdirat(AT_FDCWD, name, mode);
}

/* -- what nobody here writes with ----------------------------------------------------------------------------- */

#define NOT_FOLLOWED(type, name, fd, parameters, arguments)                                                            \
	type name parameters                                                                                           \
	{                                                                                                              \
		static type(*real) parameters;                                                                         \
		char path[PATH_MAX];                                                                                   \
                                                                                                                       \
		if (watched_file(fd, path))                                                                            \
			say_and_end(#name " is not followed", path);                                                   \
		if (!real)                                                                                             \
			*(void **)&real = dlsym(RTLD_NEXT, #name);                                                     \
		return real arguments;                                                                                 \
	}

NOT_FOLLOWED(ssize_t, writev, fd, (int fd, const struct iovec *data, int parts), (fd, data, parts))
NOT_FOLLOWED(ssize_t, pwritev64v2, fd, (int fd, const struct iovec *data, int parts, off64_t at, int flags),
	     (fd, data, parts, at, flags))
NOT_FOLLOWED(ssize_t, sendfile64, fd, (int fd, int from, off64_t *at, size_t length), (fd, from, at, length))
NOT_FOLLOWED(ssize_t, copy_file_range, fd,
	     (int from, off64_t *from_at, int fd, off64_t *at, size_t length, unsigned flags),
	     (from, from_at, fd, at, length, flags))
NOT_FOLLOWED(int, fallocate64, fd, (int fd, int mode, off64_t at, off64_t length), (fd, mode, at, length))
NOT_FOLLOWED(int, posix_fallocate64, fd, (int fd, off64_t at, off64_t length), (fd, at, length))

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset)
{
	static void *(*real)(void *, size_t, int, int, int, off64_t);
	char path[PATH_MAX];

	if (fd >= 0 && flags & MAP_SHARED && protection & PROT_WRITE && watched_file(fd, path))
		say_and_end("a mapping is not followed", path);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "mmap64");
	return real(address, length, protection, flags, fd, offset);
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	return mmap64(address, length, protection, flags, fd, offset);
}
