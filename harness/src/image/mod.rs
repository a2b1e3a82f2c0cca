// SPDX-License-Identifier: GPL-2.0-only
//! What a bzImage file says of itself.
