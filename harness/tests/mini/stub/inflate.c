/* SPDX-License-Identifier: GPL-2.0-only */
/* gzip (RFC 1952) and deflate (RFC 1951). All state lies in bss, which the stub has to clear. */

#include "misc.h"

#define LONGEST 15
#define LITERALS 288
#define DISTANCES 30

/* A canonical Huffman code: how many codes have each length, and the symbols in the order of their codes. */
struct code {
	u16 counts[LONGEST + 1];
	u16 symbols[LITERALS];
};

static const u8 *next, *end;
static u32 bits, bit_count;
static u8 *window;
static u32 written;
static struct code literals, distances;
static u8 lengths[LITERALS + 2 + DISTANCES + 2];

static u8 byte(void)
{
	if (next == end)
		error("ran out of input data");
	return *next++;
}

static u32 take(u32 count)
{
	u32 value;

	while (bit_count < count) {
		bits |= (u32)byte() << bit_count;
		bit_count += 8;
	}
	value = bits & ((1u << count) - 1);
	bits >>= count;
	bit_count -= count;
	return value;
}

static void make(struct code *code, const u8 *of, u32 count)
{
	u16 place[LONGEST + 2];
	u32 i;

	for (i = 0; i <= LONGEST; i++)
		code->counts[i] = 0;
	for (i = 0; i < count; i++)
		code->counts[of[i]]++;
	code->counts[0] = 0;
	place[1] = 0;
	for (i = 1; i <= LONGEST; i++)
		place[i + 1] = place[i] + code->counts[i];
	for (i = 0; i < count; i++)
		if (of[i])
			code->symbols[place[of[i]]++] = i;
}

static u32 symbol(const struct code *code)
{
	u32 value = 0, first = 0, index = 0, len;

	for (len = 1; len <= LONGEST; len++) {
		value |= take(1);
		if (value - first < code->counts[len])
			return code->symbols[index + value - first];
		index += code->counts[len];
		first = (first + code->counts[len]) << 1;
		value <<= 1;
	}
	error("invalid compressed format");
}

static void stored(void)
{
	u32 len, complement;

	bits = bit_count = 0;
	len = byte();
	len |= byte() << 8;
	complement = byte();
	complement |= byte() << 8;
	if ((len ^ complement) != 0xffff)
		error("invalid compressed format");
	while (len--)
		window[written++] = byte();
}

static void fixed_codes(void)
{
	u32 i;

	for (i = 0; i < LITERALS; i++)
		lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
	make(&literals, lengths, LITERALS);
	for (i = 0; i < DISTANCES; i++)
		lengths[i] = 5;
	make(&distances, lengths, DISTANCES);
}

static void dynamic_codes(void)
{
	static const u8 order[19] = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };
	u32 literal_count = take(5) + 257, distance_count = take(5) + 1, length_count = take(4) + 4;
	u32 all = literal_count + distance_count;
	u32 i, repeat;

	for (i = 0; i < 19; i++)
		lengths[order[i]] = i < length_count ? take(3) : 0;
	make(&literals, lengths, 19);
	for (i = 0; i < all;) {
		u32 value = symbol(&literals);
		u8 last = value == 16 && i ? lengths[i - 1] : 0;

		if (value < 16) {
			lengths[i++] = value;
			continue;
		}
		repeat = value == 16 ? 3 + take(2) : value == 17 ? 3 + take(3) : 11 + take(7);
		if (repeat > all - i)
			error("invalid compressed format");
		while (repeat--)
			lengths[i++] = last;
	}
	make(&literals, lengths, literal_count);
	make(&distances, lengths + literal_count, distance_count);
}

/* The base of length symbol `code` or distance symbol `code`, of which `per` each have equally many extra bits. */
static u32 extended(u32 code, u32 per, u32 least)
{
	u32 extra = code < 2 * per ? 0 : code / per - 1;

	if (!extra)
		return least + code;
	return least + ((per + code % per) << extra) + take(extra);
}

static void compressed(void)
{
	for (;;) {
		u32 code = symbol(&literals), len, back;

		if (code < 256) {
			window[written++] = code;
			continue;
		}
		if (code == 256)
			return;
		len = code == 285 ? 258 : extended(code - 257, 4, 3);
		back = extended(symbol(&distances), 2, 1);
		if (back > written)
			error("invalid compressed format");
		for (; len; len--, written++)
			window[written] = window[written - back];
	}
}

static u32 crc(const u8 *data, u32 len)
{
	static const u32 nibble[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
		0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	u32 sum = 0xffffffff;

	while (len--) {
		sum ^= *data++;
		sum = (sum >> 4) ^ nibble[sum & 15];
		sum = (sum >> 4) ^ nibble[sum & 15];
	}
	return ~sum;
}

static u32 word(void)
{
	u32 value = byte();

	value |= byte() << 8;
	value |= byte() << 16;
	return value | (u32)byte() << 24;
}

void gunzip(const u8 *in, u32 len, u8 *out)
{
	u32 last, i;

	next = in;
	end = in + len;
	window = out;
	if (byte() != 0x1f || byte() != 0x8b || byte() != 8 || byte() != 0)
		error("bad gzip magic numbers");
	/* Time, compressor's effort, system. */
	for (i = 0; i < 6; i++)
		byte();
	do {
		last = take(1);
		switch (take(2)) {
		case 0:
			stored();
			break;
		case 1:
			fixed_codes();
			compressed();
			break;
		case 2:
			dynamic_codes();
			compressed();
			break;
		default:
			error("invalid compressed format");
		}
	} while (!last);
	if (word() != crc(out, written))
		error("crc error");
	if (word() != written)
		error("length error");
}
