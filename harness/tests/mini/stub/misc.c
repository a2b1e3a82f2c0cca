/* SPDX-License-Identifier: GPL-2.0-only */
/* What the stub does in C: tests where it is, prints, decompresses, and moves the segments of an ELF file. */

#include "misc.h"

/* boot_params: the cursor, the mode and the size of a text screen. */
#define COLUMN 0x00
#define LINE 0x01
#define MODE 0x06
#define COLUMNS 0x07
#define LINES 0x0e

/* Mode 7 is that of a monochrome display. */
#define MONOCHROME (boot_params[MODE] == 7)
#define SCREEN ((volatile u8 *)(MONOCHROME ? 0xb0000 : 0xb8000))
#define CURSOR_INDEX (MONOCHROME ? 0x3b4 : 0x3d4)
#define CURSOR_DATA (CURSOR_INDEX + 1)

static u8 *boot_params;

static void outb(u16 port, u8 value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void scroll(u32 lines, u32 columns)
{
	u32 last = (lines - 1) * columns;
	u32 i;

	for (i = 0; i < 2 * last; i++)
		SCREEN[i] = SCREEN[i + 2 * columns];
	for (i = last; i < last + columns; i++)
		SCREEN[2 * i] = ' ';
}

static void print(const char *text)
{
	u32 lines = boot_params[LINES], columns = boot_params[COLUMNS];
	u32 x = boot_params[COLUMN], y = boot_params[LINE];

	if (!boot_params[MODE] && !lines && !columns)
		return;
	for (; *text; text++) {
		if (*text != '\n')
			SCREEN[2 * (x++ + columns * y)] = *text;
		if (*text == '\n' || x >= columns) {
			x = 0;
			y++;
		}
		if (y >= lines) {
			scroll(lines, columns);
			y--;
		}
	}
	boot_params[COLUMN] = x;
	boot_params[LINE] = y;
	outb(CURSOR_INDEX, 14);
	outb(CURSOR_DATA, (x + columns * y) >> 8);
	outb(CURSOR_INDEX, 15);
	outb(CURSOR_DATA, x + columns * y);
}

void error(const char *text)
{
	print("\n\n");
	print(text);
	print("\n\n -- System halted");
#ifdef LOOPS
	for (;;)
		;
#endif
	for (;;)
		asm volatile("hlt");
}

#ifdef ELF_PAYLOAD

struct header {
	u8 magic[16];
	u16 type, machine;
	u32 version, entry, segments, sections, flags;
	u16 size, segment_size, segment_count;
};

struct segment {
	u32 type, offset, vaddr, paddr, filesz, memsz, flags, align;
};

static void copy(u8 *to, const u8 *from, u32 len)
{
#ifdef BUG_BACKWARD
	while (len--)
		to[len] = from[len];
#else
	u32 i;

	for (i = 0; i < len; i++)
		to[i] = from[i];
#endif
}

/* Moves each segment from where it lies in the file to where it was linked for, in order. */
static void parse_elf(u8 *output, struct segment *heap)
{
	struct header header;
	u32 i;

	copy((u8 *)&header, output, sizeof(header));
	if (header.magic[0] != 0x7f || header.magic[1] != 'E' || header.magic[2] != 'L' || header.magic[3] != 'F')
		error("Kernel is not a valid ELF file");
	copy((u8 *)heap, output + header.segments, header.segment_count * sizeof(*heap));
	for (i = 0; i < header.segment_count; i++) {
		u8 *to = output + (heap[i].paddr - LOAD_PHYSICAL_ADDR);

		if (heap[i].type != 1)
			continue;
#ifdef BUG_FIRST_SEGMENT
		if (i > 0)
			break;
#endif
		copy(to, output + heap[i].offset, heap[i].filesz);
#ifdef BUG_CLEARS
		for (u32 at = heap[i].filesz; at < heap[i].memsz; at++)
			to[at] = 0;
#endif
	}
}

#endif

void decompress_kernel(u8 *params, u32 heap, const u8 *input, u32 input_len, u8 *output)
{
	u32 highest = (-(u32)PAGE_OFFSET - (512 << 20) - 1) & 0x7fffffff;

	boot_params = params;
#ifdef BUG_REFUSES
	highest = 64 << 20;
#endif
#ifdef BUG_ACCEPTS
	highest = 0xffffffff;
#endif
#ifndef BUG_ACCEPTS_MISALIGNED
	if ((u32)output & (PHYSICAL_ALIGN - 1))
		error("Destination address not CONFIG_PHYSICAL_ALIGN aligned");
#endif
	if (heap > highest)
		error("Destination address too large");
	print("\nDecompressing Linux... ");
	gunzip(input, input_len, output);
#ifdef ELF_PAYLOAD
	parse_elf(output, (struct segment *)heap);
#endif
	print("done.\nBooting the kernel.\n");
}
