// Memory by string instructions: one instruction for many words matters where ring 0 is emulated.

.text

.globl memcpy
.globl memmove
memmove:
    mov %rdi, %rax
    sub %rsi, %rax
    cmp %rdx, %rax
    jb 1f                               // destination starts inside the source: copy from the end
memcpy:
    mov %rdi, %rax
    mov %rdx, %rcx
    shr $3, %rcx
    rep movsq
    mov %edx, %ecx
    and $7, %ecx
    rep movsb
    ret
1:  mov %rdi, %rax
    mov %rdx, %rcx
    lea -1(%rdi, %rdx), %rdi
    lea -1(%rsi, %rdx), %rsi
    std
    rep movsb
    cld
    ret

.globl memset
memset:
    mov %rdi, %r8
    movzbl %sil, %eax
    movabs $0x0101010101010101, %rcx
    imul %rcx, %rax
    mov %rdx, %rcx
    shr $3, %rcx
    rep stosq
    mov %edx, %ecx
    and $7, %ecx
    rep stosb
    mov %r8, %rax
    ret

.globl memcmp
memcmp:
    mov %rdx, %rcx
    xor %eax, %eax
    repe cmpsb
    je 1f
    movzbl -1(%rdi), %eax               // cmpsb compares (RSI) with (RDI); memcmp is first argument less second
    movzbl -1(%rsi), %ecx
    sub %ecx, %eax
1:  ret

.globl memory_zero_page
memory_zero_page:
    xor %eax, %eax
    mov $512, %ecx
    rep stosq
    ret

.globl memory_copy_page
memory_copy_page:
    mov $512, %ecx
    rep movsq
    ret

// memory_scan_nonzero(words, from, end)
.globl memory_scan_nonzero
memory_scan_nonzero:
    mov %rdx, %rcx
    sub %rsi, %rcx
    jbe 1f
    lea (%rdi, %rsi, 8), %rdi
    xor %eax, %eax
    repe scasq
    je 1f
    mov %rdx, %rax
    sub %rcx, %rax
    dec %rax
    ret
1:  mov %rdx, %rax
    ret

// ---- user memory --------------------------------------------------------------------------------------------------
//
// A fault between user_access_start and user_access_end that the page-fault handler cannot resolve continues at
// user_access_failed; the routines push nothing, so a plain return is right. Callers have checked the range.

.globl user_access_start
user_access_start:

.globl user_copy
user_copy:
    mov %rdx, %rcx
    shr $3, %rcx
    rep movsq
    mov %edx, %ecx
    and $7, %ecx
    rep movsb
    xor %eax, %eax
    ret

.globl user_zero
user_zero:
    xor %eax, %eax
    mov %rsi, %rcx
    shr $3, %rcx
    rep stosq
    mov %esi, %ecx
    and $7, %ecx
    rep stosb
    ret

// Length of a zero-terminated string, or `limit` when no zero is within it.
.globl user_string_length
user_string_length:
    mov %rsi, %rcx
    xor %eax, %eax
    test %rsi, %rsi
    jz 1f
    repne scasb
    jne 1f
    inc %rcx
1:  mov %rsi, %rax
    sub %rcx, %rax
    ret

.globl user_load64
user_load64:
    mov (%rdi), %rax
    mov %rax, (%rsi)
    xor %eax, %eax
    ret

.globl user_access_end
user_access_end:

.globl user_access_failed
user_access_failed:
    mov $-1, %rax
    ret
