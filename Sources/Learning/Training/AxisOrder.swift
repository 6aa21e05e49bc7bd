/// The order of an image's values.
public enum AxisOrder: String, Sendable, Codable {
    /// [n, channels, height, width]
    case nchw
    /// [n, height, width, channels]
    case nhwc
}
