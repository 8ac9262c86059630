/* Fails system calls on purpose and writes down what reaches the disk. Preloaded (LD_PRELOAD) into a worker process.
 *
 * Concerns only paths below PERDURE_SHIM_ROOT (absolute, no symbolic links in it).
 *
 * PERDURE_SHIM_TRACE: a file that gets one record for each call that changes what is on disk, in the order in which the
 * calls took effect: one lock is held around the call and its record. tests/faults/power_cut.py reads it. Whatever the
 * process writes to standard output stands between, so that an acknowledgement has its place among the writes.
 *
 * PERDURE_SHIM_CONTROL: a file that holds at most one rule; written anew, it counts from the start:
 *
 *     <id> <kind> <nth> <once|lasting> <part of the path, or *>
 *
 * kind: sync   fsync and fdatasync fail with EIO, nothing is synced
 *       full   writes, extensions and creations fail with ENOSPC, nothing is written
 *       half   a write writes half of its bytes and fails with EIO
 *       short  a write writes half of its bytes and says so
 * The nth call of the kind on a matching path fails, once; or it and all later ones.
 *
 * A way to change a file that the trace cannot describe (a writable shared mapping, a copy inside the kernel) is recorded
 * as such, and the reader of the trace refuses it; SQLite's -shm file apart, which no power cut preserves.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_length;
static int trace_fd = -1;
static int control_fd = -1;

/* ------------------------------------------------------------ calls that must not come back to us */

static ssize_t raw_write(int fd, const void *data, size_t count) {
    REAL(write);
    return real(fd, data, count);
}

static ssize_t raw_pwrite(int fd, const void *data, size_t count, off64_t offset) {
    REAL(pwrite64);
    return real(fd, data, count, offset);
}

__attribute__((constructor)) static void begin(void) {
    REAL(open64);
    const char *value = getenv("PERDURE_SHIM_ROOT");
    if (!value) return;
    snprintf(root, sizeof root, "%s", value);
    root_length = strlen(root);
    if ((value = getenv("PERDURE_SHIM_TRACE"))) trace_fd = real(value, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if ((value = getenv("PERDURE_SHIM_CONTROL"))) control_fd = real(value, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
}

/* ------------------------------------------------------------ which paths concern us */

static int below_root(const char *path) {
    return root_length && strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || !path[root_length]);
}

/* The path behind a descriptor; 0 where it is none of ours. */
static int path_of_fd(int fd, char *path) {
    char link[64];
    if (!root_length || fd < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below_root(path);
}

/* The absolute path of a name given with a folder's descriptor; 0 where it is none of ours. */
static int path_of_name(int dirfd, const char *name, char *path) {
    char folder[PATH_MAX];
    if (!root_length) return 0;
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
    } else {
        if (dirfd == AT_FDCWD) {
            if (!getcwd(folder, sizeof folder)) return 0;
        } else if (!path_of_fd(dirfd, folder)) {
            return 0;
        }
        if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX) return 0;
    }
    return below_root(path);
}

static int is_shared_index(const char *path) {
    size_t length = strlen(path);
    return length > 4 && strcmp(path + length - 4, "-shm") == 0;
}

/* ------------------------------------------------------------ the trace */

static void record(char op, uint64_t inode, int64_t offset, const char *path, const void *data, size_t count) {
    if (trace_fd < 0) return;
    struct __attribute__((packed)) {
        char op;
        uint64_t inode;
        int64_t offset;
        uint32_t path_length, data_length;
    } head = {op, inode, offset, (uint32_t)strlen(path), (uint32_t)count};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)path, head.path_length}, {(void *)data, count}};
    REAL(writev);
    real(trace_fd, parts, 3);
}

static uint64_t inode_of(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 ? status.st_ino : 0;
}

/* ------------------------------------------------------------ the rule */

enum kind { NONE, SYNC, FULL, HALF, SHORT };
static char rule_text[512];
static enum kind rule_kind;
static long rule_nth, rule_seen;
static int rule_lasting;
static char rule_part[256];

static void read_rule(void) {
    char text[sizeof rule_text] = {0}, name[16] = "", mode[16] = "", id[64] = "";
    if (control_fd < 0 || pread(control_fd, text, sizeof text - 1, 0) < 0 || strcmp(text, rule_text) == 0) return;
    /* A line without its end is still being written. */
    if (text[0] && !strchr(text, '\n')) return;
    strcpy(rule_text, text);
    rule_kind = NONE;
    rule_seen = 0;
    if (sscanf(text, "%63s %15s %ld %15s %255s", id, name, &rule_nth, mode, rule_part) < 5) return;
    rule_lasting = strcmp(mode, "lasting") == 0;
    rule_kind = !strcmp(name, "sync")    ? SYNC
                : !strcmp(name, "full")  ? FULL
                : !strcmp(name, "half")  ? HALF
                : !strcmp(name, "short") ? SHORT
                                         : NONE;
}

/* Whether the call that is about to happen shall fail as `kind` does. */
static int strikes(enum kind kind, const char *path) {
    read_rule();
    if (rule_kind != kind) return 0;
    if (strcmp(rule_part, "*") != 0 && !strstr(path, rule_part)) return 0;
    rule_seen++;
    if (rule_seen < rule_nth || (rule_seen > rule_nth && !rule_lasting)) return 0;
    record('!', 0, rule_seen, path, rule_text, strlen(rule_text));
    return 1;
}

/* ------------------------------------------------------------ open */

static int open_any(int dirfd, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    struct stat status;
    REAL(openat64);
    if (!path_of_name(dirfd, name, path)) return real(dirfd, name, flags, mode);
    if ((flags & O_TMPFILE) == O_TMPFILE) record('?', 0, 0, path, "O_TMPFILE", 9);
    pthread_mutex_lock(&lock);
    int existed = lstat(path, &status) == 0;
    int fd;
    if ((flags & O_CREAT) && !existed && strikes(FULL, path)) {
        fd = -1;
        errno = ENOSPC;
    } else {
        fd = real(dirfd, name, flags, mode);
    }
    int error = errno;
    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        record(existed ? 'o' : 'c', status.st_ino, 0, path, "", 0);
        if (existed && (flags & O_TRUNC)) record('t', status.st_ino, 0, path, "", 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

static mode_t mode_of(int flags, va_list arguments) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list arguments; \
        va_start(arguments, flags); \
        mode_t mode = mode_of(flags, arguments); \
        va_end(arguments); \
        return open_any(AT_FDCWD, path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int dirfd, const char *path, int flags, ...) { \
        va_list arguments; \
        va_start(arguments, flags); \
        mode_t mode = mode_of(flags, arguments); \
        va_end(arguments); \
        return open_any(dirfd, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* ------------------------------------------------------------ write */

/* `offset` < 0: at the descriptor's own position, which moves. */
static ssize_t write_any(int fd, const void *data, size_t count, off64_t offset) {
    char path[PATH_MAX];
    if (fd == STDOUT_FILENO && trace_fd >= 0) {
        pthread_mutex_lock(&lock);
        ssize_t said = raw_write(fd, data, count);
        int error = errno;
        if (said > 0) record('s', 0, 0, "", data, (size_t)said);
        pthread_mutex_unlock(&lock);
        errno = error;
        return said;
    }
    if (!path_of_fd(fd, path)) return offset < 0 ? raw_write(fd, data, count) : raw_pwrite(fd, data, count, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = -1;
    int error = 0;
    off64_t at = offset;
    if (offset < 0) {
        struct stat status;
        at = (fcntl(fd, F_GETFL) & O_APPEND) && fstat(fd, &status) == 0 ? status.st_size : lseek64(fd, 0, SEEK_CUR);
    }
    if (strikes(FULL, path)) {
        error = ENOSPC;
    } else {
        int broken = strikes(HALF, path), shortened = strikes(SHORT, path);
        size_t part = (broken || shortened) && count > 1 ? count / 2 : count;
        done = offset < 0 ? raw_write(fd, data, part) : raw_pwrite(fd, data, part, offset);
        error = errno;
        if (done > 0) record('w', inode_of(fd), at, path, data, (size_t)done);
        if (broken) {
            done = -1;
            error = EIO;
        }
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

ssize_t write(int fd, const void *data, size_t count) { return write_any(fd, data, count, -1); }
ssize_t pwrite(int fd, const void *data, size_t count, off_t offset) { return write_any(fd, data, count, offset); }
ssize_t pwrite64(int fd, const void *data, size_t count, off64_t offset) { return write_any(fd, data, count, offset); }

/* One write for each part, until one is short. */
static ssize_t write_parts(int fd, const struct iovec *parts, int count, off64_t offset) {
    ssize_t total = 0;
    for (int n = 0; n < count; n++) {
        if (!parts[n].iov_len) continue;
        ssize_t done = write_any(fd, parts[n].iov_base, parts[n].iov_len, offset < 0 ? -1 : offset + total);
        if (done < 0) return total ? total : done;
        total += done;
        if ((size_t)done < parts[n].iov_len) break;
    }
    return total;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    REAL(writev);
    return path_of_fd(fd, path) || fd == STDOUT_FILENO ? write_parts(fd, parts, count, -1) : real(fd, parts, count);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    char path[PATH_MAX];
    REAL(pwritev64);
    return path_of_fd(fd, path) ? write_parts(fd, parts, count, offset) : real(fd, parts, count, offset);
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags) {
    char path[PATH_MAX];
    REAL(pwritev64v2);
    return path_of_fd(fd, path) ? write_parts(fd, parts, count, offset) : real(fd, parts, count, offset, flags);
}

static int truncate_any(int fd, off64_t length) {
    char path[PATH_MAX];
    struct stat status;
    REAL(ftruncate64);
    if (!path_of_fd(fd, path)) return real(fd, length);
    pthread_mutex_lock(&lock);
    int result, error;
    if (fstat(fd, &status) == 0 && length > status.st_size && strikes(FULL, path)) {
        result = -1;
        error = ENOSPC;
    } else {
        result = real(fd, length);
        error = errno;
        if (result == 0) record('t', inode_of(fd), length, path, "", 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int ftruncate(int fd, off_t length) { return truncate_any(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncate_any(fd, length); }

/* ------------------------------------------------------------ sync */

static int sync_any(int fd, int data_only) {
    char path[PATH_MAX];
    struct stat status;
    REAL(fsync);
    static __typeof__(&fdatasync) real_data;
    if (!real_data) real_data = (__typeof__(&fdatasync))dlsym(RTLD_NEXT, "fdatasync");
    if (!path_of_fd(fd, path)) return data_only ? real_data(fd) : real(fd);
    pthread_mutex_lock(&lock);
    int result, error;
    if (strikes(SYNC, path)) {
        result = -1;
        error = EIO;
    } else {
        result = data_only ? real_data(fd) : real(fd);
        error = errno;
        if (result == 0 && fstat(fd, &status) == 0)
            record(S_ISDIR(status.st_mode) ? 'D' : 'S', status.st_ino, 0, path, "", 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int fsync(int fd) { return sync_any(fd, 0); }
int fdatasync(int fd) { return sync_any(fd, 1); }

/* ------------------------------------------------------------ names */

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    char source[PATH_MAX], target[PATH_MAX];
    REAL(renameat);
    int ours = path_of_name(from_folder, from, source) + path_of_name(to_folder, to, target);
    if (!ours) return real(from_folder, from, to_folder, to);
    pthread_mutex_lock(&lock);
    int result, error;
    if (strikes(FULL, target)) {
        result = -1;
        error = ENOSPC;
    } else {
        result = real(from_folder, from, to_folder, to);
        error = errno;
        if (result == 0) record(ours == 2 ? 'r' : '?', 0, 0, source, target, strlen(target));
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int unlinkat(int folder, const char *name, int flags) {
    char path[PATH_MAX];
    REAL(unlinkat);
    if (!path_of_name(folder, name, path)) return real(folder, name, flags);
    pthread_mutex_lock(&lock);
    int result = real(folder, name, flags);
    int error = errno;
    if (result == 0) record('u', 0, 0, path, "", 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int folder, const char *name, mode_t mode) {
    char path[PATH_MAX];
    struct stat status;
    REAL(mkdirat);
    if (!path_of_name(folder, name, path)) return real(folder, name, mode);
    pthread_mutex_lock(&lock);
    int result, error;
    if (lstat(path, &status) != 0 && strikes(FULL, path)) {
        result = -1;
        error = ENOSPC;
    } else {
        result = real(folder, name, mode);
        error = errno;
        if (result == 0) record('m', 0, 0, path, "", 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* ------------------------------------------------------------ what the trace cannot describe */

static void refuse_path(const char *name, const char *path) {
    char absolute[PATH_MAX];
    if (path_of_name(AT_FDCWD, path, absolute)) record('?', 0, 0, absolute, name, strlen(name));
}

static void refuse_fd(const char *name, int fd) {
    char path[PATH_MAX];
    if (path_of_fd(fd, path) && !is_shared_index(path)) record('?', 0, 0, path, name, strlen(name));
}

int link(const char *from, const char *to) {
    REAL(link);
    refuse_path("link", to);
    return real(from, to);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    REAL(linkat);
    refuse_path("linkat", to);
    return real(from_folder, from, to_folder, to, flags);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    REAL(renameat2);
    refuse_path("renameat2", to);
    return real(from_folder, from, to_folder, to, flags);
}

int truncate64(const char *path, off64_t length) {
    REAL(truncate64);
    refuse_path("truncate", path);
    return real(path, length);
}

int truncate(const char *path, off_t length) { return truncate64(path, length); }

int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    REAL(posix_fallocate64);
    refuse_fd("posix_fallocate", fd);
    return real(fd, offset, length);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    REAL(fallocate64);
    refuse_fd("fallocate", fd);
    return real(fd, mode, offset, length);
}

ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t count, unsigned flags) {
    REAL(copy_file_range);
    refuse_fd("copy_file_range", out);
    return real(in, in_offset, out, out_offset, count, flags);
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t count) {
    static ssize_t (*real)(int, int, off64_t *, size_t);
    if (!real) real = (ssize_t(*)(int, int, off64_t *, size_t))dlsym(RTLD_NEXT, "sendfile64");
    refuse_fd("sendfile", out);
    return real(out, in, offset, count);
}

static void *map_any(void *address, size_t length, int protection, int flags, int fd, off64_t offset) {
    static void *(*real)(void *, size_t, int, int, int, off64_t);
    if (!real) real = (void *(*)(void *, size_t, int, int, int, off64_t))dlsym(RTLD_NEXT, "mmap64");
    if (fd >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE)) refuse_fd("mmap", fd);
    return real(address, length, protection, flags, fd, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset) {
    return map_any(address, length, protection, flags, fd, offset);
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    return map_any(address, length, protection, flags, fd, offset);
}
