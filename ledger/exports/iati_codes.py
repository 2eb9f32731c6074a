"""The codes of IATI 2.03 (https://iatistandard.org) that an export uses, and for what."""

from __future__ import annotations

VERSION = "2.03"
INCOMING, DISBURSEMENT, EXPENDITURE = "1", "3", "4"  # TransactionType
OPEN, CLOSED = "2", "4"  # ActivityStatus: implementation, closed
START, END = "2", "4"  # ActivityDateType: actual start, actual end
FUNDING, ACCOUNTABLE, EXTENDING, IMPLEMENTING = "1", "2", "3", "4"  # OrganisationRole
UNSPECIFIED_SECTOR = "99810"  # Sector, of the OECD DAC
UNSPECIFIED_REGION = "998"  # Region, of the OECD DAC

# kind of a party -> OrganisationType; what the list has no word for is 90, other.
ORGANISATION_TYPES = {
    "government": "10",
    "ngo": "22",
    "multilateral": "40",
    "foundation": "60",
    "private": "70",
    "academic": "80",
}
OTHER_ORGANISATION = "90"
# role in a programme -> OrganisationRole
ROLES = {
    "orchestrator": EXTENDING,
    "funding": FUNDING,
    "accountable": ACCOUNTABLE,
    "extending": EXTENDING,
    "implementing": IMPLEMENTING,
}
COUNTRIES = frozenset(
    (
        "AF AX AL DZ AS AD AO AI AQ AG AR AM AW AU AT AZ BS BH BD BB BY BE BZ BJ BM BT BO BQ "
        "BA BW BV BR IO BN BG BF BI KH CM CA CV KY CF TD CL CN CX CC CO KM CG CD CK CR CI HR "
        "CU CW CY CZ DK DJ DM DO EC EG SV GQ ER EE ET FK FO FJ FI FR GF PF TF GA GM GE DE GH "
        "GI GR GL GD GP GU GT GG GN GW GY HT HM VA HN HK HU IS IN ID IR IQ IE IM IL IT JM JP "
        "JE JO KZ KE KI KP KR XK KW KG LA LV LB LS LR LY LI LT LU MO MK MG MW MY MV ML MT MH "
        "MQ MR MU YT MX FM MD MC MN ME MS MA MZ MM NA NR NP NL NC NZ NI NE NG NU NF MP NO OM "
        "PK PW PS PA PG PY PE PH PN PL PT PR QA RE RO RU RW BL SH KN LC MF PM VC WS SM ST SA "
        "SN RS SC SL SG SX SK SI SB SO ZA GS SS ES LK SD SR SJ SZ SE CH SY TW TJ TZ TH TL TG "
        "TK TO TT TN TR TM TC TV UG UA AE GB US UM UY UZ VU VE VN VG VI WF EH YE ZM ZW"
    ).split()
)
