/**
 * Overlay complexes of the North American Numbering Plan: area codes that serve the same area,
 * compiled by hand as of September 2026. The source to check against is NANPA: the field
 * OVERLAY_COMPLEX of its area code database (reports.nanpa.com, npa_report.csv), its planning
 * letters and area code maps; for Canada the CRTC's relief decisions. A code over several areas
 * with codes of their own, such as 917 over all of New York City, is in several complexes.
 */
const complexes: readonly string[] = [
  // United States
  "205 659", // Alabama
  "256 938",
  "334 483",
  "480 602 623", // Arizona
  "327 870", // Arkansas
  "209 350", // California
  "213 323 738",
  "279 916",
  "310 424",
  "341 510",
  "357 559",
  "369 707",
  "408 669",
  "415 628",
  "442 760",
  "530 837",
  "619 858",
  "657 714",
  "747 818",
  "805 820",
  "840 909",
  "303 720 983", // Colorado
  "748 970",
  "203 475", // Connecticut
  "860 959",
  "202 771", // District of Columbia
  "305 645 786", // Florida
  "321 407 689", // 321 also serves the Space Coast, alone
  "324 904",
  "448 850",
  "561 728",
  "656 813",
  "754 954",
  "404 470 678 943", // Georgia
  "470 678 770 943",
  "706 762",
  "208 986", // Idaho
  "217 447", // Illinois
  "224 847",
  "309 861",
  "312 872",
  "331 630",
  "464 708",
  "618 730",
  "773 872",
  "779 815",
  "317 463", // Indiana
  "812 930",
  "270 364", // Kentucky
  "318 457", // Louisiana
  "227 240 301", // Maryland
  "410 443 667",
  "339 781", // Massachusetts
  "351 978",
  "508 774",
  "617 857",
  "248 947", // Michigan
  "313 679",
  "507 924", // Minnesota
  "471 662", // Mississippi
  "601 769",
  "235 573", // Missouri
  "314 557",
  "816 975",
  "402 531", // Nebraska
  "702 725", // Nevada
  "201 551", // New Jersey
  "609 640",
  "732 848",
  "862 973",
  "212 332 646 917", // New York
  "315 680",
  "329 845",
  "347 465 718 917 929",
  "363 516",
  "518 838",
  "624 716",
  "631 934",
  "336 743", // North Carolina
  "472 910",
  "704 980",
  "919 984",
  "220 740", // Ohio
  "234 330",
  "283 513",
  "326 937",
  "380 614",
  "419 567",
  "436 440",
  "405 572", // Oklahoma
  "539 918",
  "458 541", // Oregon
  "503 971",
  "215 267 445", // Pennsylvania
  "223 717",
  "272 570",
  "412 878",
  "484 610 835",
  "582 814",
  "724 878",
  "803 839", // South Carolina
  "821 864",
  "843 854",
  "423 729", // Tennessee
  "615 629",
  "210 726", // Texas
  "214 469 945 972",
  "281 346 621 713 832",
  "430 903",
  "512 737",
  "682 817",
  "385 801", // Utah
  "540 826", // Virginia
  "571 703",
  "686 804",
  "757 948",
  "206 564", // Washington
  "360 564",
  "304 681", // West Virginia
  "274 920", // Wisconsin
  "353 608",
  "534 715",
  // Canada
  "368 403 587 825", // Alberta
  "368 587 780 825",
  "236 250 257 672 778", // British Columbia
  "236 257 604 672 778",
  "204 431 584", // Manitoba
  "428 506", // New Brunswick
  "709 879", // Newfoundland and Labrador
  "782 902", // Nova Scotia and Prince Edward Island
  "226 382 519 548", // Ontario
  "249 683 705",
  "289 365 742 905",
  "343 613 753",
  "416 437 647 942",
  "263 438 514", // Quebec
  "273 367 418 581", // 273 from February 2027
  "354 450 579",
  "468 819 873",
  "306 474 639", // Saskatchewan
  // Caribbean
  "809 829 849", // Dominican Republic
  "658 876", // Jamaica
  "787 939", // Puerto Rico
];

const overlays = new Map<string, readonly string[]>();
for (const complex of complexes) {
  const areaCodes = complex.split(" ");
  for (const areaCode of areaCodes) {
    const others = areaCodes.filter((other) => other !== areaCode);
    overlays.set(areaCode, [...new Set([...(overlays.get(areaCode) ?? []), ...others])].sort());
  }
}

const none: readonly string[] = [];

/**
 * The other area codes that serve any of this one's area, in ascending order; empty when there are
 * none.
 */
export function overlaysOf(areaCode: string): readonly string[] {
  return overlays.get(areaCode) ?? none;
}
