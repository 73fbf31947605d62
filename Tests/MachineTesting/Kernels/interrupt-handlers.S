// Handlers that count and end their interrupts.
.text
.code32
.globl handler_pic, handler_apic, handler_timer
handler_pic:
    push %eax
    incl pic_ticks
    mov $0x20, %al
    out %al, $0x20
    pop %eax
    iret
handler_apic:
    incl apic_ticks
    movl $0, 0xFEE000B0
    iret
handler_timer:
    incl timer_ticks
    movl $0, 0xFEE000B0
    iret
.data
    .align 4
.globl pic_ticks, apic_ticks, timer_ticks
pic_ticks:
    .long 0
apic_ticks:
    .long 0
timer_ticks:
    .long 0
