/// Sizes of tensors whose extents a file or a peer names.
public enum TensorSize {
    /// Elements of a tensor, or bytes if each has `size`.
    ///
    /// - Returns: nil if an extent is negative, or the product is above `limit`. An extent of 0 counts as 1 there, so that products of
    ///   some of the extents are safe as well.
    public static func product(_ shape: [Int], size: Int = 1, limit: Int = .max) -> Int? {
        var product = size
        for extent in shape {
            let (next, overflow) = product.multipliedReportingOverflow(by: max(extent, 1))
            guard extent >= 0, !overflow, next <= limit else { return nil }
            product = next
        }
        return shape.contains(0) ? 0 : product
    }
}
