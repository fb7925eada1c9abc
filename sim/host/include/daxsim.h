/* The simulated machine for other hosts: docs/host-interface.md. Made by cbindgen; see CONTRIBUTING.md. */

#ifndef DAXSIM_H
#define DAXSIM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/*
 Changes when a program that was compiled with an older header would not work any more.
 */
#define DAXSIM_ABI_VERSION 1

/*
 `charge`: a hit of the L1D costs nothing, as it is in the cycles of its instruction.
 */
#define DAXSIM_CHARGE_INSTRUCTION 0

/*
 `charge`: a hit of the L1D costs its latency: each access waits for the one before.
 */
#define DAXSIM_CHARGE_LATENCY 1

/*
 `kind`: a load.
 */
#define DAXSIM_LOAD 0

/*
 `kind`: a store.
 */
#define DAXSIM_STORE 1

/*
 `kind`: an instruction fetch. It is translated; there is no cache of instructions.
 */
#define DAXSIM_FETCH 2

/*
 `kind`: a locked read-modify-write.
 */
#define DAXSIM_LOCKED 3

/*
 `flags`: by the host's kernel, and counted apart.
 */
#define DAXSIM_KERNEL 1

/*
 `flags`: through a global mapping, if this access makes it appear.
 */
#define DAXSIM_GLOBAL 2

/*
 `page`: the size of the range, or of the mapping that is there, or else 4 KiB.
 */
#define DAXSIM_PAGE_LOOK_UP 0

/*
 `page`: 4 KiB.
 */
#define DAXSIM_PAGE_4K 1

/*
 `page`: 2 MiB.
 */
#define DAXSIM_PAGE_2M 2

/*
 `page`: 1 GiB.
 */
#define DAXSIM_PAGE_1G 3

/*
 How a function ended. Zero is success.
 */
enum daxsim_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /*
   Done.
   */
  DAXSIM_STATUS_OK = 0,
  /*
   A pointer is NULL that must not be.
   */
  DAXSIM_STATUS_NULL = 1,
  /*
   A text is not UTF-8.
   */
  DAXSIM_STATUS_TEXT = 2,
  /*
   The description of the machine, or a setting, is wrong.
   */
  DAXSIM_STATUS_CONFIG = 3,
  /*
   There is no such CPU.
   */
  DAXSIM_STATUS_CPU = 4,
  /*
   An access cannot be made.
   */
  DAXSIM_STATUS_ACCESS = 5,
  /*
   An argument has a value that means nothing.
   */
  DAXSIM_STATUS_VALUE = 6,
  /*
   Something went wrong inside; the machine can only be freed.
   */
  DAXSIM_STATUS_PANIC = 7,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum daxsim_status daxsim_status;
#else
typedef int32_t daxsim_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 A simulated machine.
 */
typedef struct daxsim_machine daxsim_machine;

/*
 What a host may choose.
 */
typedef struct {
  /*
   One of `DAXSIM_CHARGE_`.
   */
  uint32_t charge;
  /*
   Zero.
   */
  uint32_t reserved;
  /*
   How far the clock of a CPU may be behind the latest one when it acts, in picoseconds.
   */
  uint64_t max_skew_ps;
} daxsim_options;

/*
 One access of one CPU.
 */
typedef struct {
  /*
   Virtual address.
   */
  uint64_t va;
  /*
   Physical address, with the same lowest 12 bits. Persistent memory is where `pmem.base` says.
   */
  uint64_t pa;
  /*
   Instructions that the CPU executed since its access before, that of this one included.
   */
  uint32_t instructions;
  /*
   The CPU, from 0.
   */
  uint16_t cpu;
  /*
   Bytes, 1 to 4096.
   */
  uint16_t size;
  /*
   `DAXSIM_LOAD` or another kind.
   */
  uint8_t kind;
  /*
   `DAXSIM_KERNEL`, `DAXSIM_GLOBAL`, both or neither.
   */
  uint8_t flags;
  /*
   One of `DAXSIM_PAGE_`.
   */
  uint8_t page;
  /*
   Zero.
   */
  uint8_t reserved;
} daxsim_access;

/*
 An interrupt that a CPU has taken. Times are picoseconds.
 */
typedef struct {
  /*
   Who sent it.
   */
  uint16_t from;
  /*
   When the sender had written its ICR.
   */
  uint64_t sent_ps;
  /*
   When the target's local APIC accepted it.
   */
  uint64_t arrived_ps;
  /*
   When the handler began.
   */
  uint64_t handled_ps;
} daxsim_taken;

/*
 Reads eight bytes of the guest's memory at a physical address that is a multiple of eight into `word`; returns 0 if there is
 no memory, else 1. It must not call functions of this machine.
 */
typedef uint8_t (*daxsim_read_guest)(void *context, uint64_t pa, uint64_t *word);

/*
 What one CPU did in one mode.
 */
typedef struct {
  /*
   Instructions that the host told of.
   */
  uint64_t instructions;
  /*
   Loads.
   */
  uint64_t loads;
  /*
   Stores.
   */
  uint64_t stores;
  /*
   Instruction fetches.
   */
  uint64_t fetches;
  /*
   Locked read-modify-writes.
   */
  uint64_t locked;
  /*
   Translations that a first-level TLB had.
   */
  uint64_t first_level_hits;
  /*
   Translations that only a second-level TLB had.
   */
  uint64_t second_level_hits;
  /*
   Page walks.
   */
  uint64_t walks;
  /*
   Paging-structure entries that these read.
   */
  uint64_t walk_reads;
  /*
   Lines of data that the L1D had.
   */
  uint64_t l1;
  /*
   Lines that the L2 had.
   */
  uint64_t l2;
  /*
   Lines that the L3 had.
   */
  uint64_t l3;
  /*
   Lines taken from another core.
   */
  uint64_t transfers;
  /*
   Lines of main memory.
   */
  uint64_t dram;
  /*
   Lines of persistent memory.
   */
  uint64_t pmem;
  /*
   Time of instructions, in picoseconds.
   */
  uint64_t compute_ps;
  /*
   Time of second-level TLB hits and walks.
   */
  uint64_t walk_ps;
  /*
   Time of setting A and D.
   */
  uint64_t assist_ps;
  /*
   Time of data beyond a hit of the L1D.
   */
  uint64_t memory_ps;
} daxsim_counts_t;

/*
 Counts of a TLB or a paging-structure cache.
 */
typedef struct {
  /*
   Its name, as `dtlb` or `psc_pde`, with a NUL at the end.
   */
  char name[24];
  /*
   Lookups; 0 for an array that is asked with others, whose lookups are counted together.
   */
  uint64_t lookups;
  /*
   Lookups that found an entry.
   */
  uint64_t hits;
  /*
   Lookups that did not.
   */
  uint64_t misses;
  /*
   Entries put in.
   */
  uint64_t fills;
  /*
   Entries that a fill pushed out.
   */
  uint64_t evictions;
  /*
   Entries that an invalidation removed.
   */
  uint64_t invalidations;
} daxsim_structure;

/*
 One kind of memory.
 */
typedef struct {
  /*
   64-byte reads.
   */
  uint64_t reads;
  /*
   64-byte writes.
   */
  uint64_t writes;
  /*
   Bytes read from the media.
   */
  uint64_t media_bytes_read;
  /*
   Bytes written to the media.
   */
  uint64_t media_bytes_written;
  /*
   Writes that found their queue full.
   */
  uint64_t stalls;
  /*
   Time that they waited, in picoseconds.
   */
  uint64_t stall_ps;
} daxsim_device;

/*
 Caches of all cores and the controllers. Unlike the counts of a CPU it has the reads of page walks.
 */
typedef struct {
  /*
   Hits of L1Ds.
   */
  uint64_t l1d_hits;
  /*
   Misses of L1Ds.
   */
  uint64_t l1d_misses;
  /*
   Hits of L2s.
   */
  uint64_t l2_hits;
  /*
   Misses of L2s.
   */
  uint64_t l2_misses;
  /*
   Hits of the L3.
   */
  uint64_t l3_hits;
  /*
   Misses of the L3.
   */
  uint64_t l3_misses;
  /*
   Lines, or the right to write them, taken from other cores.
   */
  uint64_t transfers;
  /*
   Main memory.
   */
  daxsim_device dram;
  /*
   Persistent memory.
   */
  daxsim_device pmem;
} daxsim_memory_t;

/*
 How the page tables came about.
 */
typedef struct {
  /*
   Pages that appeared, of 4 KiB, 2 MiB and 1 GiB.
   */
  uint64_t pages[3];
  /*
   Entries rewritten because a pair of addresses contradicts them.
   */
  uint64_t inferred_remaps;
  /*
   Cached translations that a pair contradicts: an invalidation was not told.
   */
  uint64_t stale;
  /*
   Pages that could not have the size of their range.
   */
  uint64_t incongruent;
  /*
   Entries read from the guest's tables.
   */
  uint64_t guest_reads;
  /*
   Walks of the guest's tables that found no page.
   */
  uint64_t guest_absent;
  /*
   Pages of the host where simulated page tables are.
   */
  uint64_t collisions;
} daxsim_mapping_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 The version of the interface: compare it with `DAXSIM_ABI_VERSION`.
 */
uint32_t daxsim_abi_version(void);

/*
 The text of the last failure in the calling thread, until the next one; empty if there was none. Never NULL.
 */
const char *daxsim_last_error(void);

/*
 Makes a machine at rest.

 `name`: that of a machine that comes with daxsim, or the path of a TOML file. If `toml` is not NULL it is the description, and
 errors call it `name`. `settings`: `setting_count` texts `KEY=VALUE`. `options`: NULL for the usual ones. The machine is stored
 to `out`, NULL after a failure; free it with `daxsim_machine_free`.

 # Safety

 Texts end with a NUL; `settings` has `setting_count` of them; `out` may be written.
 */
daxsim_status daxsim_machine_new(const char *name,
                                 const char *toml,
                                 const char *const *settings,
                                 size_t setting_count,
                                 const daxsim_options *options,
                                 daxsim_machine **out);

/*
 Frees a machine; NULL is allowed.

 # Safety

 `machine` was made by [`daxsim_machine_new`], and is not used again.
 */
void daxsim_machine_free(daxsim_machine *machine);

/*
 Makes `count` accesses in order. If `took_ps` is not NULL, what each took is stored there, in picoseconds, without the
 instructions before it. If `made` is not NULL, the number of accesses that were made is stored there: after a failure, that of
 those before the wrong one.

 # Safety

 `accesses` and `took_ps` have room for `count`; `machine` is one, in use by no other thread.
 */
daxsim_status daxsim_run(daxsim_machine *machine,
                         const daxsim_access *accesses,
                         size_t count,
                         uint64_t *took_ps,
                         size_t *made);

/*
 Lets a CPU execute instructions whose data hit the L1D; of the kernel if `kernel` is not 0.

 # Safety

 `machine` is one; `took_ps` is NULL or may be written.
 */
daxsim_status daxsim_execute(daxsim_machine *machine,
                             uint16_t cpu,
                             uint8_t kernel,
                             uint64_t instructions,
                             uint64_t *took_ps);

/*
 Lets a CPU be idle until its clock is at `until_ps`; does nothing if that is past.

 # Safety

 `machine` is one.
 */
daxsim_status daxsim_idle_until(daxsim_machine *machine, uint16_t cpu, uint64_t until_ps);

/*
 INVLPG.

 # Safety

 `machine` is one; `took_ps` is NULL or may be written.
 */
daxsim_status daxsim_invlpg(daxsim_machine *machine, uint16_t cpu, uint64_t va, uint64_t *took_ps);

/*
 INVPCID of a type: 0 an address under a PCID, 1 a PCID, 2 everything with global pages, 3 everything but these. What the type does
 not need is ignored.

 # Safety

 `machine` is one; `took_ps` is NULL or may be written.
 */
daxsim_status daxsim_invpcid(daxsim_machine *machine,
                             uint16_t cpu,
                             uint32_t kind,
                             uint16_t pcid,
                             uint64_t va,
                             uint64_t *took_ps);

/*
 MOV to CR3. `root` is any number that stands for the address space; with `daxsim_set_guest_memory` the physical address of its
 root. Unless `noflush` is set, what is cached under `pcid` goes.

 # Safety

 `machine` is one; `took_ps` is NULL or may be written.
 */
daxsim_status daxsim_mov_cr3(daxsim_machine *machine,
                             uint16_t cpu,
                             uint64_t root,
                             uint16_t pcid,
                             uint8_t noflush,
                             uint64_t *took_ps);

/*
 Drops everything of a CPU, global pages too: CR4.PGE cleared and set again.

 # Safety

 `machine` is one; `took_ps` is NULL or may be written.
 */
daxsim_status daxsim_flush_all(daxsim_machine *machine, uint16_t cpu, uint64_t *took_ps);

/*
 Sends an interrupt from one CPU to another, which has it a while later.

 # Safety

 `machine` is one; `took_ps` is NULL or may be written.
 */
daxsim_status daxsim_send_ipi(daxsim_machine *machine,
                              uint16_t from,
                              uint16_t to,
                              uint64_t *took_ps);

/*
 Lets a CPU take the interrupt that reaches it first: its clock goes on to the first instruction of the handler. `any` gets 1 and
 `taken` what it was; `any` gets 0 if none was sent.

 # Safety

 `machine` is one; `taken` and `any` are NULL or may be written.
 */
daxsim_status daxsim_take_interrupt(daxsim_machine *machine,
                                    uint16_t cpu,
                                    daxsim_taken *taken,
                                    uint8_t *any);

/*
 Lets a CPU leave the handler of an interrupt: EOI and IRET.

 # Safety

 `machine` is one; `took_ps` is NULL or may be written.
 */
daxsim_status daxsim_end_interrupt(daxsim_machine *machine, uint16_t cpu, uint64_t *took_ps);

/*
 Says that the addresses from `start` to `last` are mapped by pages of `page` (one of `DAXSIM_PAGE_`), where their physical
 addresses allow it. Of overlapping ranges the one added first counts.

 # Safety

 `machine` is one.
 */
daxsim_status daxsim_add_range(daxsim_machine *machine,
                               uint64_t start,
                               uint64_t last,
                               uint8_t page);

/*
 Lets TLB misses read the guest's own page tables: `read` is called with `context` until the machine is freed. The roots given to
 `daxsim_mov_cr3` are physical addresses from then on.

 # Safety

 `machine` is one; `read` may be called with `context`.
 */
daxsim_status daxsim_set_guest_memory(daxsim_machine *machine,
                                      daxsim_read_guest read,
                                      void *context);

/*
 CPUs of the machine.

 # Safety

 `machine` is one; `out` may be written.
 */
daxsim_status daxsim_cpu_count(daxsim_machine *machine, uint16_t *out);

/*
 Length of a cycle of the cores, in picoseconds.

 # Safety

 `machine` is one; `out` may be written.
 */
daxsim_status daxsim_cycle_ps(daxsim_machine *machine, uint64_t *out);

/*
 The clock of a CPU, in picoseconds.

 # Safety

 `machine` is one; `out` may be written.
 */
daxsim_status daxsim_now(daxsim_machine *machine, uint16_t cpu, uint64_t *out);

/*
 What a CPU did; in the kernel if `kernel` is not 0.

 # Safety

 `machine` is one; `out` may be written.
 */
daxsim_status daxsim_counts(daxsim_machine *machine,
                            uint16_t cpu,
                            uint8_t kernel,
                            daxsim_counts_t *out);

/*
 Counts of a CPU's TLBs and paging-structure caches: up to `room` of them are stored to `out`, and how many there are to `count`.

 # Safety

 `machine` is one; `out` has room for `room`; `count` may be written.
 */
daxsim_status daxsim_structures(daxsim_machine *machine,
                                uint16_t cpu,
                                daxsim_structure *out,
                                size_t room,
                                size_t *count);

/*
 Counts of the caches and controllers.

 # Safety

 `machine` is one; `out` may be written.
 */
daxsim_status daxsim_memory(daxsim_machine *machine, daxsim_memory_t *out);

/*
 How the page tables came about.

 # Safety

 `machine` is one; `out` may be written.
 */
daxsim_status daxsim_mapping(daxsim_machine *machine, daxsim_mapping_t *out);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DAXSIM_H */
