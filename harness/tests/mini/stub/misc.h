/* SPDX-License-Identifier: GPL-2.0-only */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

void error(const char *text) __attribute__((noreturn));

/* Decompresses the gzip file of `len` bytes at `in`, to `out`. */
void gunzip(const u8 *in, u32 len, u8 *out);
