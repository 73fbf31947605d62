// nanobenchmarks.S: see there for what each does.
#pragma once
#include <stdint.h>

CPU_GLOBAL uint64_t nano_count;
CPU_GLOBAL uint64_t nano_apic_registers;

#define NANO_HANDLER(name)                                                                                             \
    CPU_INLINE uint64_t name##_entry(void) {                                                                           \
        extern char name[];                                                                                            \
        return (uint64_t)name;                                                                                         \
    }
NANO_HANDLER(nano_divide_error)
NANO_HANDLER(nano_page_fault)
NANO_HANDLER(nano_undefined)
NANO_HANDLER(nano_protected)
NANO_HANDLER(nano_interrupt)

uint64_t nano_cr3_working_set(uint64_t iterations, uint64_t cr3, uint64_t address);
uint64_t nano_self_interrupts(uint64_t iterations, uint32_t command);
uint64_t nano_timer(uint64_t lead, uint32_t count, uint64_t halts);
uint64_t nano_context_switches(uint64_t iterations, uint64_t ownCR3, uint64_t otherCR3, uint64_t otherStackTop);
