/// The extent of an image: channels (1 gray, 3 RGB), height and width in pixels.
public struct ImageShape: Sendable, Hashable, Codable, CustomStringConvertible {
    public var channels: Int
    public var height: Int
    public var width: Int

    public init(channels: Int, height: Int, width: Int) {
        self.channels = channels
        self.height = height
        self.width = width
    }

    /// Number of pixel values: channels × height × width.
    public var count: Int { channels * height * width }

    public var description: String { "\(channels)×\(height)×\(width)" }

    /// The largest height or width that is accepted, from a file or a configuration.
    public static let maximumExtent = 16_384

    /// Checks that the shape is one that images can have here.
    ///
    /// - Throws: `DatasetError` (`invalidOption`) for another number of channels than 1 or 3, or an extent that is not in
    ///   1...`maximumExtent`.
    public func validate() throws(DatasetError) {
        guard channels == 1 || channels == 3 else {
            throw DatasetError(
                .invalidOption, "an image shape of \(self) has \(channels) channels; use 1 (gray) or 3 (RGB)")
        }
        guard (1...Self.maximumExtent).contains(height), (1...Self.maximumExtent).contains(width) else {
            throw DatasetError(
                .invalidOption, "an image shape of \(self) is outside 1...\(Self.maximumExtent) pixels a side")
        }
    }
}
