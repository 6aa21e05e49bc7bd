/// Slices as names, and as sets of numbers of each kind.
extension Set<SliceName> {
    /// The slices of class centers, and the dense ones, of these numbers.
    public init(centers: SliceSet, dense: SliceSet) {
        self = Set(centers.numbers.map(SliceName.centers) + dense.numbers.map(SliceName.dense))
    }

    /// Every slice of a run that has so many of each kind.
    public static func all(centers: Int, dense: Int) -> Self {
        Self(centers: SliceSet(0..<centers), dense: SliceSet(0..<dense))
    }
}

extension Collection<SliceName> {
    /// The numbers of those of class centers.
    public var centers: SliceSet { SliceSet(numbers: lazy.filter { !$0.isDense }.map(\.number)) }
    /// The numbers of the dense ones.
    public var dense: SliceSet { SliceSet(numbers: lazy.filter(\.isDense).map(\.number)) }
}
