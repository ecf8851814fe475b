/*
 * What has been changed and not been made durable, and how a power cut takes it away.
 *
 * Of each file whose data changed since its last sync, the durable content is remembered, and every change since:
 * the power cut writes that content back, with the changes on top that chance lets through. Of names the changes
 * are remembered, and undone from the newest on.
 */
#include "preload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512

enum kind { WRITTEN, TRUNCATED, CREATED, RENAMED, REMOVED };

/* `file`, `offset`, `data` (`length` bytes) tell of data; `name`, and of a renaming `before`, of names; `kept` is a
 * second name of the file that lost its own. */
struct change {
	struct change *next;
	enum kind kind;
	ino_t file;
	off64_t offset;
	size_t length;
	char *data, *name, *before, *kept;
};

/* `content` (`size` bytes) is what is durable, NULL while everything is. The descriptor stays open for good: closing
 * any descriptor of a file takes SQLite's locks on it from the whole process. It also keeps the number of the file
 * from being used again. */
struct image {
	struct image *next;
	ino_t file;
	int fd;
	size_t size;
	char *content;
};

static struct change *changes;
static struct image *images;

/* -- taking note ---------------------------------------------------------------------------------------------- */

static struct image *image_of(int fd, ino_t file)
{
	struct image *image;
	char path[64];

	for (image = images; image; image = image->next)
		if (image->file == file)
			return image;
	image = calloc(1, sizeof *image);
	image->file = file;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	image->fd = real_openat64(AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	image->next = images;
	return images = image;
}

void is_about_to_change(int fd, ino_t file)
{
	struct image *image = image_of(fd, file);
	struct stat found;

	if (image->content)
		return;
	fstat(image->fd, &found);
	image->size = found.st_size;
	image->content = malloc(image->size + 1);
	if (real_pread64(image->fd, image->content, image->size, 0) != (ssize_t)image->size)
		say_and_end("cannot read", "a file that is about to change");
}

static struct change *add(enum kind kind)
{
	struct change *change = calloc(1, sizeof *change), **end = &changes;

	while (*end)
		end = &(*end)->next;
	*end = change;
	change->kind = kind;
	return change;
}

void was_written(ino_t file, const void *data, size_t length, off64_t offset)
{
	struct change *change = add(WRITTEN);

	change->file = file;
	change->offset = offset;
	change->length = length;
	change->data = malloc(length);
	memcpy(change->data, data, length);
}

void was_truncated(ino_t file, off64_t length)
{
	struct change *change = add(TRUNCATED);

	change->file = file;
	change->offset = length;
}

void was_created(const char *name)
{
	add(CREATED)->name = strdup(name);
}

void was_renamed(const char *before, const char *name, char *kept)
{
	struct change *change = add(RENAMED);

	change->name = strdup(name);
	change->before = strdup(before);
	change->kept = kept;
}

void was_removed(const char *name, char *kept)
{
	struct change *change = add(REMOVED);

	change->name = strdup(name);
	change->kept = kept;
}

char *keep(const char *path)
{
	static int number;
	int before = errno;
	char *kept;

	if (asprintf(&kept, "%s/kept-%d-%d", control, (int)getpid(), number++) < 0)
		abort();
	if (linkat(AT_FDCWD, path, AT_FDCWD, kept, 0)) {
		free(kept);
		kept = NULL;
	}
	errno = before;
	return kept;
}

/* -- durable -------------------------------------------------------------------------------------------------- */

static bool of_names(const struct change *change)
{
	return change->kind >= CREATED;
}

static bool in_directory(const char *name, const char *directory)
{
	size_t length = strlen(directory);

	return !strncmp(name, directory, length) && name[length] == '/' && !strchr(name + length + 1, '/');
}

static void forget(struct change *change)
{
	if (change->kept)
		real_unlinkat(AT_FDCWD, change->kept, 0);
	free(change->data);
	free(change->name);
	free(change->before);
	free(change->kept);
	free(change);
}

/* Those of a file, or, where `directory` is given, those of its names. */
static void forget_changes(ino_t file, const char *directory)
{
	struct change **link = &changes, *change;
	bool concerned;

	while ((change = *link)) {
		concerned = directory ? of_names(change) && in_directory(change->name, directory)
				      : !of_names(change) && change->file == file;
		if (concerned) {
			*link = change->next;
			forget(change);
		} else {
			link = &change->next;
		}
	}
}

void file_is_durable(ino_t file)
{
	struct image *image;

	forget_changes(file, NULL);
	for (image = images; image; image = image->next) {
		if (image->file == file) {
			free(image->content);
			image->content = NULL;
		}
	}
}

void names_are_durable(const char *directory)
{
	forget_changes(0, directory);
}

/* -- the power goes ------------------------------------------------------------------------------------------- */

static void resize(struct image *image, size_t size)
{
	if (size > image->size) {
		image->content = realloc(image->content, size);
		memset(image->content + image->size, 0, size - image->size);
	}
	image->size = size;
}

static void put(struct image *image, const char *data, size_t length, off64_t offset)
{
	if (offset + length > image->size)
		resize(image, offset + length);
	memcpy(image->content + offset, data, length);
}

/* A write of which only some sectors arrived. */
static void put_sectors(struct image *image, const struct change *change)
{
	static const char nothing[SECTOR];
	off64_t end = change->offset + change->length, from, to;

	for (from = change->offset; from < end; from = to) {
		to = (from / SECTOR + 1) * SECTOR;
		if (to > end)
			to = end;
		if (dice() & 1)
			put(image, change->data + (from - change->offset), to - from, from);
		else if ((size_t)from >= image->size && dice() & 1) /* the length arrived, what is in it did not */
			put(image, nothing, to - from, from);
	}
}

static void lose_data(bool all, bool torn)
{
	struct change *change;
	struct image *image;

	for (image = images; image; image = image->next) {
		if (!image->content)
			continue;
		for (change = changes; change && !all; change = change->next) {
			if (of_names(change) || change->file != image->file)
				continue;
			if (change->kind == WRITTEN && torn)
				put_sectors(image, change);
			else if (dice() & 1)
				continue;
			else if (change->kind == WRITTEN)
				put(image, change->data, change->length, change->offset);
			else
				resize(image, change->offset);
		}
		if (real_ftruncate64(image->fd, 0) ||
		    real_pwrite64(image->fd, image->content, image->size, 0) != (ssize_t)image->size)
			say_and_end("cannot take back", "what was written");
	}
}

static void undo(const struct change *change)
{
	char lost[PATH_MAX + 64];

	switch (change->kind) {
	case CREATED: /* moved away rather than removed: it may be a directory with something in it */
		snprintf(lost, sizeof lost, "%s/lost-%llx", control, (unsigned long long)dice());
		real_renameat(AT_FDCWD, change->name, AT_FDCWD, lost);
		break;
	case RENAMED:
		real_renameat(AT_FDCWD, change->name, AT_FDCWD, change->before);
		break;
	default:
		break;
	}
	if (change->kept)
		linkat(AT_FDCWD, change->kept, AT_FDCWD, change->name, 0);
}

static void lose_names(bool all)
{
	struct change *change;
	long held = 0, number, lost;

	for (change = changes; change; change = change->next)
		held += of_names(change);
	for (lost = all ? held : (long)(dice() % (held + 1)); lost > 0; lost--, held--)
		for (number = 0, change = changes; change; change = change->next)
			if (of_names(change) && ++number == held)
				undo(change);
}

void lose_what_is_not_durable(bool all, bool torn)
{
	lose_data(all, torn);
	lose_names(all);
}
