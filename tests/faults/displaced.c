/* A clock that can be stepped under running processes: loaded before the C library (LD_PRELOAD), it adds the seconds in the file that
   DISPLACED_CLOCK names to the time of day. Clocks that only run are left alone. No headers: only the compiler is needed. */

struct timespec { long seconds, nanoseconds; };
struct timeval { long seconds, microseconds; };

extern char *getenv(const char *);
extern int open(const char *, int, ...);
extern int close(int);
extern void *mmap(void *, unsigned long, int, int, int, long);
extern void *dlsym(void *, const char *);

#define NEXT ((void *)-1L)

static const long *offset;
static int (*real_clock)(int, struct timespec *);

static void look(void) __attribute__((constructor));

static void look(void)
{
    if (real_clock)
        return;
    real_clock = (int (*)(int, struct timespec *))dlsym(NEXT, "clock_gettime");
    const char *path = getenv("DISPLACED_CLOCK");
    int file = path ? open(path, 0) : -1;
    if (file >= 0) {
        void *mapped = mmap(0, sizeof(long), 1, 1, file, 0);
        offset = mapped == (void *)-1L ? 0 : mapped;
        close(file);
    }
}

int clock_gettime(int clock, struct timespec *now)
{
    look();
    int failed = real_clock(clock, now);
    if (!failed && offset && (clock == 0 || clock == 5)) /* CLOCK_REALTIME, CLOCK_REALTIME_COARSE */
        now->seconds += *offset;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec found;
    int failed = clock_gettime(0, &found);
    (void)zone;
    now->seconds = found.seconds;
    now->microseconds = found.nanoseconds / 1000;
    return failed;
}

long time(long *now)
{
    struct timespec found;
    clock_gettime(0, &found);
    if (now)
        *now = found.seconds;
    return found.seconds;
}
