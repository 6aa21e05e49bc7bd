#pragma once
#include <ft2build.h>
#include FT_FREETYPE_H
#include FT_TRUETYPE_TABLES_H

/// The flags of every glyph load: outlines only, unhinted, antialiased gray.
static inline FT_Int32 pfc_freetype_load_flags(void) {
    return FT_LOAD_RENDER | FT_LOAD_NO_HINTING | FT_LOAD_NO_BITMAP | FT_LOAD_TARGET_NORMAL;
}

/// The font's own revision number (table `head`), 16.16 fixed point; 0 if it has none.
static inline long pfc_freetype_revision(FT_Face face) {
    TT_Header *head = (TT_Header *)FT_Get_Sfnt_Table(face, FT_SFNT_HEAD);
    return head ? head->Font_Revision : 0;
}

/// Whether the face has a usable Unicode character map, selected as a side effect.
static inline int pfc_freetype_select_unicode(FT_Face face) { return FT_Select_Charmap(face, FT_ENCODING_UNICODE) == 0; }

/// The version of the FreeType library in use, major * 1000000 + minor * 1000 + patch.
static inline int pfc_freetype_version(void) {
    FT_Library library;
    FT_Int major = 0, minor = 0, patch = 0;
    if (FT_Init_FreeType(&library)) return 0;
    FT_Library_Version(library, &major, &minor, &patch);
    FT_Done_FreeType(library);
    return major * 1000000 + minor * 1000 + patch;
}
