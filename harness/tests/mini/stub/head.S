/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The start of a stub for i386 that relocates its kernel as Linux 2.6.20 did. It is linked at 0 and runs anywhere.
 *
 * The test that builds it defines PHYSICAL_ALIGN, LOAD_PHYSICAL_ADDR, PAGE_OFFSET, SCRATCH (the four bytes of boot_params
 * that nobody needs), PAYLOAD (a file), and ELF_PAYLOAD where that is no flat binary. Each BUG_x is one mistake.
 */

#define BOOT_DS 0x18

	.section ".text.head", "ax"
	.globl startup_32
startup_32:
	cld
	cli
	movl	$BOOT_DS, %eax
	movl	%eax, %ss
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs

	/* A call tells where we are. %ebp: where the loader put us. */
	leal	SCRATCH + 4(%esi), %esp
	call	here
here:	popl	%ebp
	subl	$here, %ebp

	/* %ebx: where the copy goes, such that its compressed kernel ends just behind the decompressed one. */
	leal	PHYSICAL_ALIGN - 1(%ebp), %ebx
	andl	$-PHYSICAL_ALIGN, %ebx
	movl	output_len(%ebp), %eax
	addl	%eax, %ebx
	subl	input_len(%ebp), %ebx
#ifndef BUG_MARGIN
	shrl	$12, %eax
	leal	32768 + 18(%ebx, %eax), %ebx
#endif
	addl	$4095, %ebx
	andl	$-4096, %ebx

	/* From the end down, for source and destination may overlap. As in 2.6.20 it begins one byte too high: that byte is
	   the heap's, and the `cld` above, which stays behind, has served. */
	pushl	%esi
	leal	_end(%ebp), %esi
	leal	_end(%ebx), %edi
#ifdef BUG_COPY
	movl	$(_end - 4096), %ecx
#else
	movl	$_end, %ecx
#endif
	std
	rep movsb
	cld
	popl	%esi

#ifdef BUG_OLD_COPY
	leal	relocated(%ebp), %eax
#else
	leal	relocated(%ebx), %eax
#endif
	/* %ebp: where the kernel goes. */
#ifndef BUG_ALIGNMENT
	addl	$(PHYSICAL_ALIGN - 1), %ebp
	andl	$-PHYSICAL_ALIGN, %ebp
#endif
#ifdef BUG_PLACE
	addl	$4096, %ebp
#endif
	jmp	*%eax

	.section ".data.compressed", "a"
input_len:
	.long	input_end - input_data
input_data:
	.incbin	PAYLOAD
input_end:
	/* The last field of gzip data. */
	.equ	output_len, input_end - 4

	.text
relocated:
#ifndef BUG_BSS
	leal	_edata(%ebx), %edi
	leal	_end(%ebx), %ecx
	subl	%edi, %ecx
	xorl	%eax, %eax
	rep stosb
#endif
	leal	stack_end(%ebx), %esp

	/* The length, which decompression may overwrite, stays on the stack. */
	pushl	output_len(%ebx)
	pushl	%ebp
	pushl	input_len(%ebx)
	leal	input_data(%ebx), %eax
	pushl	%eax
	leal	_end(%ebx), %eax
	pushl	%eax
	pushl	%esi
	call	decompress_kernel
	addl	$20, %esp
	popl	%ecx

#ifdef BUG_PORT
	outb	%al, $0x80
#endif
#ifdef BUG_HANG
	jmp	.
#endif
#ifdef BUG_STRAY
	movb	$0x5a, -1(%ebp)
#endif
#ifdef BUG_PARAMS
	orb	$2, 0x211(%esi)
#endif

	/* %ebx: the distance from where the kernel was linked. */
	movl	%ebp, %ebx
#ifdef BUG_DELTA
	subl	$(LOAD_PHYSICAL_ADDR + PHYSICAL_ALIGN), %ebx
#else
	subl	$LOAD_PHYSICAL_ADDR, %ebx
#endif
	pushl	%esi
#if defined(BUG_NO_DISTANCE)
	jnz	1f; movl $PHYSICAL_ALIGN, %ebx; 1:
#elif !defined(HARMLESS_NO_DISTANCE)
	jz	3f
#endif

	/* The table, from its end down to a zero. */
#ifdef BUG_FORGETS_LAST
	leal	-8(%ebp, %ecx), %esi
#else
	leal	-4(%ebp, %ecx), %esi
#endif
	std
2:	lodsl
	testl	%eax, %eax
	jz	3f
#ifdef BUG_STOPS_EARLY
	cmpl	$0, (%esi); je 3f
#endif
#ifdef BUG_TWICE
	cmpl	$0, (%esi); jne 4f; addl %ebx, -PAGE_OFFSET(%eax, %ebx); 4:
#endif
#ifdef BUG_SUBTRACTS
	subl	%ebx, -PAGE_OFFSET(%eax, %ebx)
#else
	addl	%ebx, -PAGE_OFFSET(%eax, %ebx)
#endif
	jmp	2b
3:
#ifndef BUG_DIRECTION
	cld
#endif
#ifndef BUG_ESI
	popl	%esi
#endif
#ifdef BUG_INTERRUPTS
	sti
#endif
#ifdef BUG_SEGMENT
	movl	%cs, %eax; movl %eax, %es
#endif
#ifdef BUG_STALE
	movl	-4(%ebp), %edx
#endif
#ifdef BUG_TARGET
	movl	$LOAD_PHYSICAL_ADDR, %ebp
#endif
#ifndef BUG_EBX
	xorl	%ebx, %ebx
#endif
	jmp	*%ebp

	.bss
	.balign	4
	.skip	4096
stack_end:

	.section .note.GNU-stack, "", @progbits
