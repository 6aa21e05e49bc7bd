/// A face of an installed font: the file, which face in it, and the Debian package that ships it.
public struct GlyphFont: Sendable, Hashable, Codable {
    /// The Debian package to install.
    public var package: String
    /// The absolute path of the font file.
    public var path: String
    /// Which face of a collection (`.ttc`); 0 otherwise.
    public var face: Int

    public init(package: String, path: String, face: Int = 0) {
        self.package = package
        self.path = path
        self.face = face
    }

    /// The default set: faces of Debian fonts, 213 MB to download, that differ visibly and share most of their characters:
    /// sans-serif, serif, round, pen, brush and handwriting styles of China, Taiwan and Japan.
    public static let standard: [GlyphFont] =
        font("fonts-noto-cjk", "opentype/noto/NotoSansCJK-Regular.ttc", 0, 2)
        + font("fonts-noto-cjk", "opentype/noto/NotoSansCJK-Bold.ttc", 0)
        + font("fonts-noto-cjk", "opentype/noto/NotoSerifCJK-Regular.ttc", 0, 3)
        + font("fonts-noto-cjk", "opentype/noto/NotoSerifCJK-Bold.ttc", 2)
        + font("fonts-arphic-ukai", "truetype/arphic/ukai.ttc", 0)
        + font("fonts-arphic-uming", "truetype/arphic/uming.ttc", 0)
        + font("fonts-lxgw-wenkai", "truetype/lxgw-wenkai/LXGWWenKai-Light.ttf")
        + font("fonts-lxgw-wenkai", "truetype/lxgw-wenkai/LXGWWenKai-Bold.ttf")
        + font("fonts-wqy-microhei", "truetype/wqy/wqy-microhei.ttc", 0)
        + font("fonts-wqy-zenhei", "truetype/wqy/wqy-zenhei.ttc", 0)
        + font("fonts-kouzan-mouhitsu", "truetype/kouzan-mouhitsu/kouzan-mouhitsu.ttf")
        + font("fonts-kouzan-mouhitsu", "truetype/kouzan-mouhitsu/kouzan-mouhitsu-gyosho.ttf")
        + font("fonts-aoyagi-soseki", "truetype/aoyagi-soseki/aoyagi-soseki.ttf")
        + font("fonts-aoyagi-kouzan-t", "truetype/aoyagi-kouzan-t/AoyagiKouzanT.ttf")
        + font("fonts-ipafont-gothic", "opentype/ipafont-gothic/ipag.ttf")
        + font("fonts-ipafont-mincho", "opentype/ipafont-mincho/ipam.ttf")
        + font("fonts-vlgothic", "truetype/vlgothic/VL-Gothic-Regular.ttf")
        + font("fonts-motoya-l-cedar", "truetype/motoya-l-cedar/MTLc3m.ttf")
        + font("fonts-motoya-l-maruberi", "truetype/motoya-l-maruberi/MTLmr3m.ttf")
        + font("fonts-horai-umefont", "truetype/horai-umefont/ume-tgo5.ttf")
        + font("fonts-horai-umefont", "truetype/horai-umefont/ume-tmo3.ttf")
        + font("fonts-kiloji", "truetype/kiloji/kiloji.ttf")
        + font("fonts-kiloji", "truetype/kiloji/kiloji_b.ttf")
        + font("fonts-komatuna", "truetype/komatuna/komatuna.ttf")
        + font("fonts-seto", "truetype/seto/setofont.ttf")
        + font("fonts-migmix", "truetype/migmix/migmix-1p-bold.ttf")
        + font("fonts-yozvox-yozfont-standard-kana", "truetype/yozvox-yozfont/YOzRS_.ttf")
        + font("fonts-dejima-mincho", "truetype/dejima-mincho/dejima-mincho-r227.ttf")

    static func font(_ package: String, _ path: String, _ faces: Int...) -> [GlyphFont] {
        (faces.isEmpty ? [0] : faces).map { GlyphFont(package: package, path: "/usr/share/fonts/" + path, face: $0) }
    }
}
