/* Maps a file of 64 pages at a fixed address, loads from every page, stores to every second one, and syncs.
   Without a C library, so that its trace is short. x86-64 Linux. */
static long call(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long ret;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return ret;
}

#define PAGES 64
#define AT 0x10000000000L

void _start(void)
{
	volatile unsigned long *map = (volatile unsigned long *)AT;
	unsigned long sum = 0;
	long fd = call(2, (long)"mapped.file", 0102, 0600, 0, 0, 0); /* open, O_RDWR | O_CREAT */
	call(77, fd, PAGES * 4096, 0, 0, 0, 0);                      /* ftruncate */
	call(9, AT, PAGES * 4096, 3, 0x11, fd, 0);                   /* mmap, MAP_SHARED | MAP_FIXED */
	for (long page = 0; page < PAGES; page++)
		for (long line = 0; line < 8; line++)
			sum += map[page * 512 + line * 8];
	for (long page = 0; page < PAGES; page += 2)
		map[page * 512] = sum;
	call(26, AT, PAGES * 4096, 4, 0, 0, 0);                      /* msync, MS_SYNC */
	for (long page = 0; page < PAGES; page += 4)
		__asm__ volatile("incq %0" : "+m"(map[page * 512 + 8]));   /* loads and stores */
	call(1, 1, (long)"done\n", 5, 0, 0, 0);                      /* write */
	call(60, 0, 0, 0, 0, 0, 0);                                  /* exit */
}
