//! The functions that read and write values of a type, which pg_type names and pg_proc lists, with Postgres's oids.

use std::sync::LazyLock;

use super::pg_type::PG_TYPES;

/// Postgres's oids for arrays: input, output, receive, send, subscripting, analysis.
pub const ARRAY_IO: [u32; 4] = [750, 751, 2400, 2401];
pub const ARRAY_SUBSCRIPT: u32 = 6179;
pub const ARRAY_ANALYZE: u32 = 3816;
pub const RECORD_IO: [u32; 4] = [2290, 2291, 2402, 2403];

/// Oids of a type's input, output, receive and send functions, of its modifier's input and output, of its subscripting.
/// Drivers look at them (typreceive tells Npgsql whether a type has a binary form).
pub struct Functions {
    pub ty: u32,
    pub io: [u32; 4],
    pub modifier: [u32; 2],
    pub subscript: u32,
}

const fn functions(ty: u32, io: [u32; 4], modifier: [u32; 2], subscript: u32) -> Functions {
    Functions { ty, io, modifier, subscript }
}

pub const FUNCTIONS: &[Functions] = &[
    functions(16, [1242, 1243, 2436, 2437], [0, 0], 0),
    functions(17, [1244, 31, 2412, 2413], [0, 0], 0),
    functions(18, [1245, 33, 2434, 2435], [0, 0], 0),
    functions(19, [34, 35, 2422, 2423], [0, 0], 6180),
    functions(20, [460, 461, 2408, 2409], [0, 0], 0),
    functions(21, [38, 39, 2404, 2405], [0, 0], 0),
    functions(23, [42, 43, 2406, 2407], [0, 0], 0),
    functions(24, [44, 45, 2444, 2445], [0, 0], 0),
    functions(25, [46, 47, 2414, 2415], [0, 0], 0),
    functions(26, [1798, 1799, 2418, 2419], [0, 0], 0),
    functions(700, [200, 201, 2424, 2425], [0, 0], 0),
    functions(701, [214, 215, 2426, 2427], [0, 0], 0),
    functions(705, [109, 110, 2416, 2417], [0, 0], 0),
    functions(1042, [1044, 1045, 2430, 2431], [2913, 2914], 0),
    functions(1043, [1046, 1047, 2432, 2433], [2915, 2916], 0),
    functions(1082, [1084, 1085, 2468, 2469], [0, 0], 0),
    functions(1083, [1143, 1144, 2470, 2471], [2909, 2910], 0),
    functions(1114, [1312, 1313, 2474, 2475], [2905, 2906], 0),
    functions(1184, [1150, 1151, 2476, 2477], [2907, 2908], 0),
    functions(1186, [1160, 1161, 2478, 2479], [2903, 2904], 0),
    functions(1700, [1701, 1702, 2460, 2461], [2917, 2918], 0),
    functions(2205, [2218, 2219, 2452, 2453], [0, 0], 0),
    functions(2206, [2220, 2221, 2454, 2455], [0, 0], 0),
    functions(2249, RECORD_IO, [0, 0], 0),
    functions(2276, [2294, 2295, 0, 0], [0, 0], 0),
    functions(2277, [2296, 2297, 2502, 2503], [0, 0], 0),
    functions(2278, [2298, 2299, 3120, 3121], [0, 0], 0),
    functions(2283, [2312, 2313, 0, 0], [0, 0], 0),
    functions(2776, [2777, 2778, 0, 0], [0, 0], 0),
    functions(2950, [2952, 2953, 2961, 2962], [0, 0], 0),
    functions(3802, [3806, 3804, 3805, 3803], [0, 0], 6098),
    functions(4089, [4084, 4085, 4087, 4088], [0, 0], 0),
    functions(5077, [5086, 5087, 0, 0], [0, 0], 0),
    functions(5078, [5088, 5089, 5090, 5091], [0, 0], 0),
];

/// Names of the functions that pg_type refers to, by oid.
pub fn names() -> &'static [(u32, String)] {
    static NAMES: LazyLock<Vec<(u32, String)>> = LazyLock::new(collect);
    &NAMES
}

fn collect() -> Vec<(u32, String)> {
    let mut names = Vec::new();
    for functions in FUNCTIONS {
        let Some(ty) = PG_TYPES.iter().find(|ty| ty.oid == functions.ty) else { continue };
        for (oid, suffix) in functions.io.into_iter().zip(["in", "out", "recv", "send"]) {
            names.push((oid, format!("{}{suffix}", ty.io)));
        }
        for (oid, suffix) in functions.modifier.into_iter().zip(["typmodin", "typmodout"]) {
            names.push((oid, format!("{}{suffix}", ty.name)));
        }
        names.push((functions.subscript, format!("{}_subscript_handler", ty.name.replace("name", "raw_array"))));
    }
    for (oid, suffix) in ARRAY_IO.into_iter().zip(["in", "out", "recv", "send"]) {
        names.push((oid, format!("array_{suffix}")));
    }
    names.push((ARRAY_SUBSCRIPT, "array_subscript_handler".to_string()));
    names.push((ARRAY_ANALYZE, "array_typanalyze".to_string()));
    names.retain(|(oid, _)| *oid != 0);
    names.sort();
    names.dedup();
    names
}
