/* Starts one program many times at once and says of each how long it took and what it used.
 *
 *   measure COUNT FOLDER FILE PROGRAM ARGUMENTS...
 *
 * Run number I (from 0) gets FOLDER/I as its working directory and writes FILE below it. One line of JSON for each run:
 * when it began, when FILE was there, when it ended (milliseconds since the first began), CPU time, peak memory, exit
 * status. In C, because a process counts the memory of whoever started it as its own until it calls exec: a large
 * launcher would hide what a small program needs. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct run {
    pid_t pid;
    int watch;
    double begun, there, ended;
    long peak_kib;
    double cpu_ms;
    int status;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Watches the deepest folder on the way to the file that is there, and notes the time once the file is. */
static void look(struct run *run, int notify, const char *folder, int index, const char *file) {
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%d/", folder, index);
    if (length < 0 || (size_t)length + strlen(file) >= sizeof path) die("path");
    strcpy(path + length, file);
    for (;;) {
        struct stat found;
        if (stat(path, &found) == 0 && S_ISREG(found.st_mode) && found.st_size > 0) {
            run->there = now();
            return;
        }
        char *slash = strrchr(path + length, '/');
        char parent[4096];
        int watch = -1;
        strcpy(parent, path);
        while (watch < 0) {
            char *end = slash ? parent + (slash - path) : parent + length - 1;
            *end = 0;
            watch = inotify_add_watch(notify, parent, IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE);
            if (watch < 0) {
                if (!slash) die(parent);
                slash = memrchr(path + length, '/', slash - path - length);
            }
        }
        if (watch == run->watch) return;
        /* A deeper folder than before: what we wait for may have come before the watch. */
        run->watch = watch;
    }
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "usage: measure COUNT FOLDER FILE PROGRAM ARGUMENTS...\n");
        return 64;
    }
    int count = atoi(argv[1]);
    const char *folder = argv[2], *file = argv[3];
    struct run *runs = calloc(count, sizeof *runs);
    int notify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    int signals = signalfd(-1, &children, SFD_NONBLOCK | SFD_CLOEXEC);
    if (!runs || notify < 0 || signals < 0) die("setup");
    for (int i = 0; i < count; i++) {
        runs[i].watch = -1;
        look(&runs[i], notify, folder, i, file);
        if (runs[i].there) {
            fprintf(stderr, "%s is there already\n", file);
            return 1;
        }
    }
    for (int i = 0; i < count; i++) {
        runs[i].begun = now();
        runs[i].pid = fork();
        if (runs[i].pid < 0) die("fork");
        if (runs[i].pid == 0) {
            char own[4096];
            snprintf(own, sizeof own, "%s/%d", folder, i);
            sigprocmask(SIG_UNBLOCK, &children, NULL);
            if (chdir(own) < 0) _exit(126);
            int null = open("/dev/null", O_RDWR), log = open("log", O_WRONLY | O_CREAT | O_TRUNC, 0600);
            if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log, 2) < 0) _exit(126);
            execv(argv[4], argv + 4);
            _exit(127);
        }
    }
    int running = count;
    while (running > 0) {
        struct pollfd on[] = {{notify, POLLIN, 0}, {signals, POLLIN, 0}};
        /* Two minutes without anything: give up, and leave nothing running. */
        if (poll(on, 2, 120000) <= 0) {
            for (int i = 0; i < count; i++)
                if (!runs[i].ended) kill(runs[i].pid, SIGKILL);
            fprintf(stderr, "a run hangs\n");
            return 1;
        }
        char events[65536] __attribute__((aligned(8)));
        ssize_t got = read(notify, events, sizeof events);
        for (ssize_t at = 0; at < got;) {
            struct inotify_event *event = (struct inotify_event *)(events + at);
            at += sizeof *event + event->len;
            for (int i = 0; i < count; i++)
                if (!runs[i].there && runs[i].watch == event->wd) look(&runs[i], notify, folder, i, file);
        }
        while (read(signals, events, sizeof events) > 0) {
        }
        struct rusage used;
        int status;
        pid_t pid;
        while ((pid = wait4(-1, &status, WNOHANG, &used)) > 0) {
            for (int i = 0; i < count; i++) {
                if (runs[i].pid != pid) continue;
                runs[i].ended = now();
                if (!runs[i].there) look(&runs[i], notify, folder, i, file);
                runs[i].peak_kib = used.ru_maxrss;
                runs[i].cpu_ms = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
                                 (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
                runs[i].status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
                running--;
            }
        }
    }
    for (int i = 0; i < count; i++)
        printf("{\"begun\": %.3f, \"there\": %.3f, \"ended\": %.3f, \"cpu_ms\": %.3f, \"peak_kib\": %ld, \"status\": %d}\n",
               runs[i].begun - runs[0].begun, runs[i].there ? runs[i].there - runs[0].begun : -1,
               runs[i].ended - runs[0].begun, runs[i].cpu_ms, runs[i].peak_kib, runs[i].status);
    return 0;
}
