/// How rows and momentum are kept and rounded, as settings of a run.
struct RowNumbers {
    var name: String
    var settings: [String]

    static let compared = [
        RowNumbers(name: "f32/f32", settings: []),
        RowNumbers(name: "bf16/f32", settings: ["head.storage=bf16"]),
        RowNumbers(name: "bf16/int8", settings: ["head.storage=bf16", "head.momentum_storage=int8"]),
        RowNumbers(
            name: "bf16/int8 nearest",
            settings: ["head.storage=bf16", "head.momentum_storage=int8", "head.rounding=nearest"]),
    ]
}
