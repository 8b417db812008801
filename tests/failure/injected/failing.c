/* Calls of libc that fail on demand: preloaded into the programs of tests, armed by them through ctypes.
 *
 * One rule at a time: a kind of call, the end of a file's path, which of those calls is the first to fail, how many
 * do, and how: with an errno, or after a part of the bytes, or first the one and then the other.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { NONE, OPEN, WRITE, READ, SYNC, TRUNCATE, RENAME, UNLINK };

static struct {
    enum kind kind;
    int error;
    long first, times, part, seen, hits;
    char end[PATH_MAX];
} rule;

void fault_arm(int kind, const char *end, long first, long times, int error, long part)
{
    rule.kind = NONE;
    rule.first = first;
    rule.times = times;
    rule.error = error;
    rule.part = part;
    rule.seen = rule.hits = 0;
    snprintf(rule.end, sizeof rule.end, "%s", end);
    rule.kind = (enum kind)kind;
}

long fault_seen(void) { return rule.seen; }
long fault_hits(void) { return rule.hits; }

/* 0: the call is to be made; more: it fails with this errno; less: so many bytes of it are done. */
static long verdict(enum kind kind, const char *path)
{
    size_t length = strlen(path), end = strlen(rule.end);
    if (kind != rule.kind || length < end || strcmp(path + length - end, rule.end))
        return 0;
    long number = __atomic_add_fetch(&rule.seen, 1, __ATOMIC_SEQ_CST);
    if (number < rule.first || number >= rule.first + rule.times)
        return 0;
    long hit = __atomic_add_fetch(&rule.hits, 1, __ATOMIC_SEQ_CST);
    return rule.part && (hit == 1 || !rule.error) ? -rule.part : rule.error;
}

static long verdict_on(enum kind kind, int descriptor)
{
    char link[32], path[PATH_MAX];
    if (kind != rule.kind)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return verdict(kind, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define SMALLER(a, b) ((size_t)(a) < (size_t)(b) ? (size_t)(a) : (size_t)(b))
#define FAIL(with) do { errno = (int)(with); return -1; } while (0)

#define VECTOR(name, single, kind, parameters, arguments)                                                   \
    ssize_t name parameters                                                                                 \
    {                                                                                                       \
        long found = verdict_on(kind, descriptor);                                                          \
        if (found > 0)                                                                                      \
            FAIL(found);                                                                                    \
        if (found < 0)                                                                                      \
            return REAL(single)(descriptor, parts->iov_base, SMALLER(parts->iov_len, -found), address);     \
        return REAL(name) arguments;                                                                        \
    }
#define PLAIN (int descriptor, const struct iovec *parts, int count, off_t address)
#define FLAGGED (int descriptor, const struct iovec *parts, int count, off_t address, int flags)
VECTOR(pwritev, pwrite, WRITE, PLAIN, (descriptor, parts, count, address))
VECTOR(pwritev64, pwrite64, WRITE, PLAIN, (descriptor, parts, count, address))
VECTOR(pwritev2, pwrite, WRITE, FLAGGED, (descriptor, parts, count, address, flags))
VECTOR(pwritev64v2, pwrite64, WRITE, FLAGGED, (descriptor, parts, count, address, flags))
VECTOR(preadv, pread, READ, PLAIN, (descriptor, parts, count, address))
VECTOR(preadv64, pread64, READ, PLAIN, (descriptor, parts, count, address))
VECTOR(preadv2, pread, READ, FLAGGED, (descriptor, parts, count, address, flags))
VECTOR(preadv64v2, pread64, READ, FLAGGED, (descriptor, parts, count, address, flags))

ssize_t write(int descriptor, const void *data, size_t count)
{
    long found = verdict_on(WRITE, descriptor);
    if (found > 0)
        FAIL(found);
    return REAL(write)(descriptor, data, found < 0 ? SMALLER(count, -found) : count);
}

ssize_t read(int descriptor, void *data, size_t count)
{
    long found = verdict_on(READ, descriptor);
    if (found > 0)
        FAIL(found);
    return REAL(read)(descriptor, data, found < 0 ? SMALLER(count, -found) : count);
}

#define POSITIONED(name)                                                                                    \
    ssize_t name(int descriptor, void *data, size_t count, off_t address)                                   \
    {                                                                                                       \
        long found = verdict_on(READ, descriptor);                                                          \
        if (found > 0)                                                                                      \
            FAIL(found);                                                                                    \
        return REAL(name)(descriptor, data, found < 0 ? SMALLER(count, -found) : count, address);           \
    }
POSITIONED(pread)
POSITIONED(pread64)

#define SIMPLE(name, parameters, arguments, found) \
    int name parameters                            \
    {                                              \
        long verdict_ = found;                     \
        if (verdict_ > 0)                          \
            FAIL(verdict_);                        \
        return REAL(name) arguments;               \
    }
SIMPLE(fsync, (int descriptor), (descriptor), verdict_on(SYNC, descriptor))
SIMPLE(fdatasync, (int descriptor), (descriptor), verdict_on(SYNC, descriptor))
SIMPLE(ftruncate, (int descriptor, off_t size), (descriptor, size), verdict_on(TRUNCATE, descriptor))
SIMPLE(ftruncate64, (int descriptor, off_t size), (descriptor, size), verdict_on(TRUNCATE, descriptor))
SIMPLE(rename, (const char *from, const char *to), (from, to), verdict(RENAME, from))
SIMPLE(unlink, (const char *path), (path), verdict(UNLINK, path))

#define OPENING(name)                                                \
    int name(const char *path, int flags, ...)                       \
    {                                                                \
        va_list rest;                                                \
        va_start(rest, flags);                                       \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                \
        long found = verdict(OPEN, path);                            \
        if (found > 0)                                               \
            FAIL(found);                                             \
        return REAL(name)(path, flags, mode);                        \
    }
OPENING(open)
OPENING(open64)
