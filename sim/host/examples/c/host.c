/* Drives the simulated machine from C: what an emulator would do with the accesses of its guest.
 *
 *   cargo build --release -p daxsim-host
 *   cc -I sim/host/include sim/host/examples/c/host.c -L target/release -ldaxsim_host -o host
 *   LD_LIBRARY_PATH=target/release ./host
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daxsim.h"

#define PAGES 64
#define VA UINT64_C(0x7f0000000000)
#define DRAM UINT64_C(0x10000000)

/* Ends the program with what went wrong. */
static void check(daxsim_status status, const char *what)
{
    if (status != DAXSIM_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", what, daxsim_last_error());
        exit(1);
    }
}

static daxsim_access access_of(uint16_t cpu, uint8_t kind, uint64_t va, uint64_t pa)
{
    daxsim_access it;
    memset(&it, 0, sizeof it);
    it.va = va;
    it.pa = pa;
    it.instructions = 10;
    it.cpu = cpu;
    it.size = 8;
    it.kind = kind;
    it.page = DAXSIM_PAGE_LOOK_UP;
    return it;
}

static void show(daxsim_machine *machine, const char *when)
{
    daxsim_counts_t counts;
    check(daxsim_counts(machine, 0, 0, &counts), "counts");
    printf("%-22s loads %3" PRIu64 "  stores %3" PRIu64 "  TLB hits %3" PRIu64 "+%" PRIu64
           "  walks %3" PRIu64 "  L1D %3" PRIu64 "  DRAM %2" PRIu64 "\n",
           when, counts.loads, counts.stores, counts.first_level_hits, counts.second_level_hits,
           counts.walks, counts.l1, counts.dram);
}

int main(void)
{
    const char *settings[] = {"cpu.count=2", "dram.capacity=32 GiB"};
    daxsim_machine *machine = NULL;
    daxsim_access loads[PAGES];
    uint64_t took[PAGES], again[PAGES], spent = 0, clock0 = 0, clock1 = 0;
    size_t made = 0, structures = 0;
    daxsim_structure structure[32];
    daxsim_mapping_t mapping;
    daxsim_taken taken;
    uint8_t any = 0;

    if (daxsim_abi_version() != DAXSIM_ABI_VERSION) {
        fprintf(stderr, "the library has another version than its header\n");
        return 1;
    }

    /* What is wrong is said. */
    daxsim_status status = daxsim_machine_new("no-such-machine", NULL, NULL, 0, NULL, &machine);
    printf("a machine that is none: status %d, machine %s\n", (int)status, machine ? "made" : "NULL");

    check(daxsim_machine_new("skylake-sp-optane", NULL, settings, 2, NULL, &machine), "machine");

    /* One load in each page: every first one walks the page tables. */
    for (int i = 0; i < PAGES; i++) {
        uint64_t at = (uint64_t)i * 4096 + (uint64_t)i * 64;
        loads[i] = access_of(0, DAXSIM_LOAD, VA + at, DRAM + at);
    }
    check(daxsim_run(machine, loads, PAGES, took, &made), "run");
    printf("made %zu accesses\n", made);
    show(machine, "first pass");
    check(daxsim_run(machine, loads, PAGES, again, NULL), "run");
    show(machine, "second pass");
    int cheaper = 0;
    for (int i = 0; i < PAGES; i++)
        cheaper += again[i] < took[i];
    printf("cheaper in the second pass: %d of %d\n", cheaper, PAGES);

    /* TLB maintenance. */
    check(daxsim_invlpg(machine, 0, loads[5].va, &spent), "invlpg");
    printf("INVLPG took time: %s\n", spent > 0 ? "yes" : "no");
    check(daxsim_run(machine, &loads[5], 1, NULL, NULL), "run");
    show(machine, "after INVLPG");
    check(daxsim_mov_cr3(machine, 0, 1, 0, 0, NULL), "mov_cr3");
    check(daxsim_run(machine, loads, PAGES, NULL, NULL), "run");
    show(machine, "in another space");

    /* A page that has moved, which nobody told. */
    loads[0].pa += 4096 * 1000;
    check(daxsim_run(machine, loads, 1, NULL, NULL), "run");
    check(daxsim_mapping(machine, &mapping), "mapping");
    printf("pages %" PRIu64 ", inferred remaps %" PRIu64 ", stale translations %" PRIu64 "\n",
           mapping.pages[0], mapping.inferred_remaps, mapping.stale);

    /* An interrupt. */
    check(daxsim_send_ipi(machine, 0, 1, NULL), "send_ipi");
    check(daxsim_take_interrupt(machine, 1, &taken, &any), "take_interrupt");
    check(daxsim_end_interrupt(machine, 1, NULL), "end_interrupt");
    check(daxsim_now(machine, 0, &clock0), "now");
    check(daxsim_now(machine, 1, &clock1), "now");
    printf("interrupt from CPU %u: taken %u, on its way %s, clocks differ %s\n", (unsigned)taken.from,
           (unsigned)any, taken.sent_ps < taken.arrived_ps ? "a while" : "no time",
           clock1 > clock0 ? "as they should" : "not");

    /* A wrong access stops a batch; those before it are made. */
    loads[2].pa += 8;
    status = daxsim_run(machine, loads, PAGES, NULL, &made);
    printf("a wrong access: status %d after %zu: %s\n", (int)status, made, daxsim_last_error());

    check(daxsim_structures(machine, 0, structure, 32, &structures), "structures");
    for (size_t i = 0; i < structures && i < 32; i++)
        if (strcmp(structure[i].name, "dtlb") == 0)
            printf("dtlb: %" PRIu64 " lookups, %" PRIu64 " misses\n", structure[i].lookups,
                   structure[i].misses);
    daxsim_machine_free(machine);
    return 0;
}
