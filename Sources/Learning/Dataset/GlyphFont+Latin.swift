extension GlyphFont {
    /// Faces for words in Latin letters, 13 MB to download: sans-serif, serif, italic, bold, narrow, typewriter, chancery and pen.
    public static let latin: [GlyphFont] =
        font("fonts-dejavu-core", "truetype/dejavu/DejaVuSans.ttf")
        + font("fonts-dejavu-core", "truetype/dejavu/DejaVuSerif-Bold.ttf")
        + font("fonts-liberation", "truetype/liberation/LiberationSans-Bold.ttf")
        + font("fonts-liberation", "truetype/liberation/LiberationSerif-Italic.ttf")
        + font("fonts-liberation", "truetype/liberation/LiberationSansNarrow-Regular.ttf")
        + font("fonts-liberation", "truetype/liberation/LiberationMono-Regular.ttf")
        + font("fonts-urw-base35", "opentype/urw-base35/URWGothic-Book.otf")
        + font("fonts-urw-base35", "opentype/urw-base35/URWBookman-LightItalic.otf")
        + font("fonts-urw-base35", "opentype/urw-base35/P052-BoldItalic.otf")
        + font("fonts-urw-base35", "opentype/urw-base35/C059-Roman.otf")
        + font("fonts-urw-base35", "opentype/urw-base35/Z003-MediumItalic.otf")
        + font("fonts-lxgw-wenkai", "truetype/lxgw-wenkai/LXGWWenKai-Light.ttf")
}
